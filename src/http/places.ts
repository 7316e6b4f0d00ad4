import type { Members } from '../cluster/members.ts'
import { projectVersion } from '../config/load.ts'
import type { Config } from '../config/schema.ts'
import type { ServiceInfo } from '../discovery/discovery.ts'
import { formatHost } from '../sip/engine/message/uri.ts'
import type { SipLink } from '../sip/link.ts'
import type { Http } from './http.ts'

/** Where other nodes reach this one: SIP over TCP, and the API. */
export function placesOf(config: Config, points: ReturnType<SipLink['points']>, http: Http | undefined) {
  const { address } = config.cluster
  const near = <P extends { address: string }>(all: P[]) =>
    all.find(point => point.address === address) ?? all.find(point => !/^(127\.|::1$)/.test(point.address)) ?? all[0]
  const sip = near(points.filter(point => point.protocol === 'tcp'))
  const api = near(http?.points().filter(point => point.secure) ?? [])
  return {
    sip: sip === undefined ? '' : `sip:${formatHost(sip.address)}:${sip.port};transport=tcp`,
    http: api === undefined ? '' : `https://${formatHost(api.address)}:${api.port}`,
  }
}

/** `host:port` of HTTPS of the other nodes that may be asked. */
export function otherPlaces(members: Pick<Members, 'list' | 'node'>): string[] {
  return members
    .list()
    .filter(({ node, state, http }) => node !== members.node && state !== 'down' && http !== '')
    .toSorted((a, b) => a.priority - b.priority)
    .map(({ http }) => http.replace('https://', ''))
}

/** What the local network is told of this server (RFC 6763). */
export function serviceList(config: Config, http: Http | undefined, domain: string): ServiceInfo[] {
  const { sip } = config
  const txt = { domain, version: projectVersion() }
  const port = (secure: boolean) => http?.points().find(p => p.secure === secure)?.port ?? 0
  const all = [
    { type: 'sip', protocol: 'udp', port: sip.udp, txt },
    { type: 'sip', protocol: 'tcp', port: sip.tcp, txt },
    { type: 'sips', protocol: 'tcp', port: sip.tls, txt },
    { type: 'http', protocol: 'tcp', port: port(false), txt: { path: '/' } },
    { type: 'https', protocol: 'tcp', port: port(true), txt: { path: '/' } },
    { type: 'vaartha', protocol: 'tcp', port: port(true) || port(false) || sip.tcp || sip.udp, txt },
  ] as const
  return all.filter(service => service.port !== 0)
}
