import type { Accounts } from '../accounts/accounts.ts'
import type { Bus } from '../cluster/bus.ts'
import { projectVersion } from '../config/load.ts'
import type { Config } from '../config/schema.ts'
import type { LocationStore } from '../location/store.ts'
import type { Media } from '../media/media.ts'
import { formatHost } from '../sip/engine/message/uri.ts'
import type { SipLink } from '../sip/link.ts'
import type { Health } from './deps.ts'
import type { Http } from './http.ts'
import { parts } from './parts.ts'

/** Where the server is reached and what it is doing. */
export interface ServerInfo {
  name: string
  domain: string
  version: string
  /** `udp 192.0.2.1:5060`, `https 192.0.2.1:443` … */
  points: string[]
  parts: Record<string, { on: boolean; why: string }>
  accounts: number
}

export interface OwnStateDeps {
  config: Config
  location: Pick<LocationStore, 'healthy' | 'why'>
  bus: Pick<Bus, 'healthy' | 'why'>
  media: Pick<Media, 'state' | 'load'>
  accounts: Pick<Accounts, 'list'>
  link: Pick<SipLink, 'points' | 'stats'>
  /** What mDNS has claimed. */
  name(): string | undefined
  /** Undefined while it is off, or not open yet. */
  http(): Http | undefined
}

/** What the server says of itself. */
export function createOwnState({ config, location, bus, media, accounts, link, name, http }: OwnStateDeps) {
  let looked = { at: performance.now(), cpu: process.cpuUsage() }
  return {
    /** What other nodes are told at each heartbeat: dialogs, media legs, and the share of one core since the last time. */
    figures(): Record<string, number> {
      const now = { at: performance.now(), cpu: process.cpuUsage() }
      const spent = now.cpu.user + now.cpu.system - looked.cpu.user - looked.cpu.system
      const cpu = spent / 1000 / Math.max(1, now.at - looked.at)
      looked = now
      const { workers, ports } = media.load()
      const legs = workers.reduce((sum, worker) => sum + worker.legs, ports)
      return { dialogs: link.stats()?.dialogs ?? 0, legs, cpu: Math.round(cpu * 100) / 100 }
    },
    health(): Health {
      const reasons = [
        ...(location.healthy() ? [] : [`registrations go on in memory only: ${location.why()}`]),
        ...(bus.healthy() ? [] : [`the other nodes are not heard: ${bus.why()}`]),
      ]
      return {
        // Phones register and call without Redis and without other nodes; sending them elsewhere would help nobody.
        ready: true,
        degraded: reasons.length > 0,
        reasons,
        parts: parts(config, name(), media),
        media: media.state(),
      }
    },
    async info(): Promise<ServerInfo> {
      return {
        name: name() ?? config.domain,
        domain: config.domain,
        version: projectVersion(),
        points: [
          ...link.points().map(p => `${p.protocol} ${formatHost(p.address)}:${p.port}`),
          ...(http()?.points() ?? []).map(p => `${p.secure ? 'https' : 'http'} ${formatHost(p.address)}:${p.port}`),
        ],
        parts: parts(config, name(), media),
        accounts: (await accounts.list()).length,
      }
    },
  }
}
