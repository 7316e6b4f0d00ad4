// What this room sees of drachtio-srf 5: its requests, responses and table of dialogs. Dialogs are kept by `Leg`
// (leg.ts) and not by srf's own Dialog, because that one answers re-INVITEs before the other side has, fills ACKs of
// late offers with an SDP of its own, and counts a refused re-INVITE as still in progress for ever.

export type Headers = Record<string, string>

export interface Message {
  get(name: string): string | undefined
  has(name: string): boolean
  readonly body: string | undefined
}

/** A request that came in. */
export interface Incoming extends Message {
  readonly method: string
  readonly uri: string
  readonly source: 'network' | 'application'
  /** `udp`, `tcp`, … */
  readonly protocol: string
  readonly source_address: string
  readonly source_port: string | number
  readonly stackDialogId?: string
  /** The engine's id of the flow that it came over. */
  readonly sessionToken?: string
  on(event: 'cancel', listener: (cancel: Message) => void): unknown
  on(event: 'update', listener: (req: Incoming, res: Reply) => void): unknown
}

/** Our answer to it. */
export interface Reply {
  readonly finalResponseSent: boolean
  readonly stackDialogId?: string
  send(
    status: number,
    reason: string | undefined,
    options: { headers?: Headers; body?: string },
    sent?: (error: unknown, message?: Message) => void,
  ): void
}

/** A response that came in. */
export interface Response extends Message {
  readonly status: number
  readonly reason: string
  readonly protocol: string
  readonly source_address: string
  readonly source_port: string | number
  readonly stackDialogId?: string
}

/** Sends the ACK of a final response, or the PRACK of a reliable provisional one. */
export type Ack = (options?: { headers?: Headers; body?: string }) => void

/** A request that went out. */
export interface Sent extends Message {
  on(event: 'response', listener: (response: Response, ack: Ack) => void): unknown
  on(event: 'update', listener: (req: Incoming, res: Reply) => void): unknown
  cancel(options: { headers?: Headers }, done: (error: unknown) => void): void
}

export interface Outgoing {
  method: string
  headers: Headers
  body?: string | undefined
  /** Next hop. */
  proxy?: string | undefined
  stackDialogId?: string
}

export interface SrfPort {
  request(uri: string, options: Outgoing, sent: (error: unknown, request?: Sent) => void): unknown
  addDialog(dialog: { readonly id: string; handle(req: Incoming, res: Reply): void }): void
  removeDialog(dialog: { readonly id: string }): void
}

const classes: Record<number, number> = { 1: 183, 2: 200, 3: 302, 4: 480, 5: 500, 6: 603 }
const known = new Set([
  100, 180, 181, 182, 183, 199, 200, 202, 204, 300, 301, 302, 305, 380, 400, 401, 402, 403, 404, 405, 406, 407, 408,
  410, 412, 413, 414, 415, 416, 420, 421, 422, 423, 480, 481, 482, 483, 484, 485, 486, 487, 488, 489, 491, 493, 500,
  501, 502, 503, 504, 505, 513, 580, 600, 603, 604, 606,
])

/** The status itself, or the x00-like one that RFC 3261 section 8.1.3.2 lets stand for an unknown one (srf refuses those). */
export function sendable(status: number): number {
  return known.has(status) ? status : (classes[Math.floor(status / 100)] ?? 500)
}

/** Answers once; a second final answer is left out. */
export function reply(
  res: Reply,
  status: number,
  options: { reason?: string | undefined; headers?: Headers; body?: string | undefined } = {},
  sent?: (error: unknown, message?: Message) => void,
): void {
  if (res.finalResponseSent) return
  const code = sendable(status)
  res.send(
    code,
    code === status ? options.reason : undefined,
    { headers: options.headers ?? {}, ...(options.body ? { body: options.body } : {}) },
    sent,
  )
}
