import { isIPv6 } from 'node:net'
import { createRequest, createResponse, type SipMessage } from '../sip/engine/message/message.ts'
import type { Flow } from './flow.ts'
import type { Stream } from './stream.ts'

/** One test phone's end of a call. */
export interface Line {
  readonly stream: Stream
  /** What the packets of the other end begin with, as hex text; '' before its SDP was seen. */
  readonly far: string
  /** When a node said last, in the call, where it lives now, in ms of `performance.now()`; undefined before. */
  readonly told: number | undefined
  readonly ended: boolean
  /** Resolves when the other end has hung up. */
  readonly gone: Promise<void>
  /** Hangs up over whichever connection leads to the call now; gives the final status. Refuses as `Flow.ask`. */
  hangUp(ms: number): Promise<number>
  /** Lets its sound end. */
  close(): void
}

/** What a line knows of its dialog (RFC 3261 section 12). */
export interface Dialog {
  callId: string
  /** Whole From and To values of our own requests. */
  from: string
  to: string
  target: string
  routes: readonly string[]
  contact: string
  sequence: number
}

export interface OwnLine extends Line {
  /** Takes the other end's SDP in. */
  hear(sdp: string): void
  /** The SDP of this end, always the same. */
  describe(): string
  /** A request inside the dialog. */
  take(request: SipMessage, flow: Flow): void
}

/** `flows` are the phone's connections; the one by which the call was heard of last comes first. */
export function createLine(dialog: Dialog, stream: Stream, first: Flow, flows: () => readonly Flow[]): OwnLine {
  let flow = first
  let far = ''
  let told: number | undefined
  let ended = false
  let end: () => void = () => undefined
  const gone = new Promise<void>(resolve => {
    end = resolve
  })
  const { address, port, mark } = stream
  const family = isIPv6(address) ? 'IP6' : 'IP4'
  const sdp = [
    'v=0',
    `o=drill ${port} 1 IN ${family} ${address}`,
    `s=${mark.toString('hex')}`,
    `c=IN ${family} ${address}`,
    't=0 0',
    `m=audio ${port} RTP/AVP 0`,
    'a=rtpmap:0 PCMU/8000',
    'a=ptime:20',
    '',
  ].join('\r\n')

  function hear(text: string): void {
    const there = /^c=IN IP[46] ([^\s/]+)/m.exec(text)?.[1]
    const at = Number(/^m=audio (\d+)/m.exec(text)?.[1])
    if (there === undefined || !(at > 0)) return
    // A relay describes itself; the mark is the other end's own.
    if (far === '') {
      far = /^s=([0-9a-f]{16})\s*$/m.exec(text)?.[1] ?? ''
      if (far !== '') stream.listenFor(Buffer.from(far, 'hex'))
    }
    stream.sendTo(there, at)
  }

  function close(): void {
    ended = true
    stream.close()
  }

  return {
    stream,
    gone,
    hear,
    describe: () => sdp,
    close,
    get far() {
      return far
    },
    get told() {
      return told
    },
    get ended() {
      return ended
    },
    take(request, by) {
      flow = by
      const { method } = request
      if (request.body.length > 0) hear(request.body.toString())
      if (method === 'ACK') return
      const response = createResponse(request, 200)
      if (method === 'INVITE' || method === 'UPDATE') {
        told = performance.now()
        const target = request.contacts
        if (target !== '*' && target[0] !== undefined) dialog.target = target[0].uriText
        response.append('Contact', dialog.contact)
        if (method === 'INVITE' || request.body.length > 0) describeIn(response, sdp)
      }
      by.send(response)
      if (method !== 'BYE') return
      ended = true
      end()
    },
    async hangUp(ms) {
      const way = flow.open ? flow : (flows().find(one => one.open) ?? flow)
      const answer = await way.ask(inDialog('BYE', dialog), ms)
      ended = true
      return answer.status
    },
  }
}

/** A request inside a dialog; an ACK has the number of its INVITE. */
export function inDialog(method: string, dialog: Dialog): SipMessage {
  if (method !== 'ACK') dialog.sequence++
  const request = createRequest(method, dialog.target)
  request.append('Max-Forwards', '70')
  for (const route of dialog.routes) request.append('Route', route)
  request.append('From', dialog.from)
  request.append('To', dialog.to)
  request.append('Call-ID', dialog.callId)
  request.append('CSeq', `${dialog.sequence} ${method}`)
  return request
}

export function describeIn(message: SipMessage, sdp: string): void {
  message.append('Content-Type', 'application/sdp')
  message.body = Buffer.from(sdp)
}
