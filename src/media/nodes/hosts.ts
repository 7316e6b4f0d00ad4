import type { Logger } from '../../log.ts'
import type { AddressWatch } from '../../network/interfaces.ts'
import type { Media, MediaState } from '../media.ts'
import { type Candidate, type Choice, chooseNodes } from './choose.ts'
import { createEars } from './ears.ts'
import { createRemoteMedia, type RemoteMedia } from './remote.ts'
import { createBusyness } from './serve.ts'
import type { Asking } from './wire.ts'

/** A node of the cluster, as far as media goes. */
export interface MediaMember {
  node: string
  life: string
  state: Candidate['state']
  roles: readonly string[]
  /** 0..1: how much of its share it takes after it came. */
  weight: number
}

/** Who is there. */
export interface MediaMembers {
  readonly node: string
  list(): readonly MediaMember[]
  onChange(listener: () => void): () => void
  /** A life has ended for sure. */
  onDeath(listener: (dead: { node: string; life: string }) => void): () => void
}

/** One that carries media, from when it is met until it is lost: a node that comes back is another host. */
export interface Host {
  readonly node: string
  readonly own: boolean
  readonly media: Media
  /** All that was there is lost. */
  gone: boolean
}

export interface HostsDeps {
  /** This node's own media room; undefined where it carries none. */
  local: Media | undefined
  members: MediaMembers
  bus: Asking
  addresses: Pick<AddressWatch, 'current'>
  log: Logger
  onLost(host: Host, why: string): void
  /** Somebody came, went or changed. */
  onChange(): void
}

export interface Hosts {
  /** The hosts that may take it, best first. */
  choose(choice: Choice): Host[]
  find(node: string): Host | undefined
  list(): Host[]
  /** As the cluster sees it; `down` for one that it does not know. */
  stateOf(host: Host): Candidate['state']
  /** How busy it is, as far as it says. */
  busy(host: Host): number
  /** An address that other nodes reach its ports at. */
  addressOf(host: Host): string
  /** Of the best that there is. */
  state(): MediaState
  close(): Promise<void>
}

interface Known {
  host: Host
  remote: RemoteMedia
}

/** This node and the media nodes of the cluster. */
export function createHosts(deps: HostsDeps): Hosts {
  const { local, members, bus, log } = deps
  const ears = createEars(bus)
  const remotes = new Map<string, Known>()
  const own: Host | undefined =
    local === undefined ? undefined : { node: members.node, own: true, media: local, gone: false }
  const ownBusy = local === undefined ? undefined : createBusyness(local)

  function look(): void {
    for (const member of members.list()) if (isMedia(member)) meet(member.node)
    // One that has answered is let go when it is lost.
    for (const [node, { remote }] of remotes) if (remote.condition() === undefined) letGo(node)
  }

  const isMedia = ({ node, state, roles }: MediaMember) =>
    node !== members.node && state !== 'down' && roles.includes('media')

  function meet(node: string): void {
    if (remotes.has(node)) return
    const remote = createRemoteMedia({ node, bus, ears, log, onLost: why => lost(node, why) })
    remotes.set(node, { remote, host: { node, own: false, media: remote, gone: false } })
  }

  function lost(node: string, why: string): void {
    const known = remotes.get(node)
    if (known === undefined) return
    const { host } = known
    host.gone = true
    known.host = { ...host, gone: false }
    deps.onLost(host, why)
    letGo(node)
  }

  /** One that is gone for good is not asked for ever. */
  function letGo(node: string): void {
    if (members.list().some(member => member.node === node && isMedia(member))) return
    const known = remotes.get(node)
    remotes.delete(node)
    void known?.remote.close()
  }

  const stops = [
    members.onChange(() => {
      look()
      deps.onChange()
    }),
    members.onDeath(({ node, life }) => remotes.get(node)?.remote.buried(life)),
    ears.close,
  ]
  look()

  const memberOf = (node: string) => {
    const all = members.list().filter(member => member.node === node)
    return all.find(member => member.state !== 'down') ?? all[0]
  }

  function candidate(host: Host): Candidate {
    const { state = 'down', weight = 1 } = memberOf(host.node) ?? {}
    const common = { node: host.node, own: host.own, state, weight }
    if (host.own) {
      const sfu = host.media.state().sfu === 'ready'
      return { ...common, there: true, sfu, busy: ownBusy?.().busy ?? 0, addresses: deps.addresses.current() }
    }
    const seen = remotes.get(host.node)?.remote.condition()
    const { busy = 0, addresses = [] } = seen ?? {}
    return { ...common, there: seen !== undefined, sfu: seen?.state.sfu === 'ready', busy, addresses }
  }

  const list = () => [...(own === undefined ? [] : [own]), ...[...remotes.values()].map(({ host }) => host)]
  const find = (node: string) => (node === own?.node ? own : remotes.get(node)?.host)

  return {
    list,
    find,
    choose(choice) {
      // Most servers have no other node, and need no choice.
      if (own !== undefined && remotes.size === 0) return choice.without.includes(own.node) ? [] : [own]
      return chooseNodes(list().map(candidate), choice).flatMap(node => find(node) ?? [])
    },
    stateOf: host => memberOf(host.node)?.state ?? 'down',
    busy: host => candidate(host).busy,
    addressOf(host) {
      const { addresses } = candidate(host)
      return (addresses.find(one => !one.internal) ?? addresses[0])?.address ?? '127.0.0.1'
    },
    state() {
      const states = list().map(host => host.media.state())
      const none: MediaState = { sfu: 'unavailable', why: 'no media node is there' }
      return states.find(one => one.sfu === 'ready') ?? states.find(one => one.sfu === 'preparing') ?? states[0] ?? none
    },
    async close() {
      for (const stop of stops.splice(0)) stop()
      await Promise.all([...remotes.values()].map(({ remote }) => remote.close()))
    },
  }
}
