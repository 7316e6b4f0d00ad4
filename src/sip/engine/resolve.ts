import type { Target } from './transport/transport.ts'

/**
 * RFC 3263: the targets for a SIP URI, best first. `uri` is a parsed request-URI or route; the answer is empty when the
 * name has no address. The engine is handed a function of this type and never asks DNS itself.
 */
export type Resolve = (uri: {
  scheme: 'sip' | 'sips'
  /** Host name or address; IPv6 without brackets. */
  host: string
  port: number | undefined
  /** The transport parameter, lower case. */
  transport: string | undefined
}) => Promise<Target[]> | Target[]
