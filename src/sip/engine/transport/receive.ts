import type { Limits } from '../../../config/schema.ts'
import type { Events } from '../../../events.ts'
import type { Logger } from '../../../log.ts'
import { ParseFailure } from '../message/message.ts'
import { parseMessage } from '../message/parser.ts'
import type { Flow, TransportUser } from './transport.ts'
import { recordSource } from './via.ts'

export interface Receiver {
  /** Takes one whole message; false when it did not parse. */
  message(bytes: Buffer, flow: Flow): boolean
  /** Reports bytes that can not even be cut into messages. */
  malformed(failure: ParseFailure, flow: Flow): void
  sent(bytes: Buffer, flow: Flow): void
}

/**
 * The way from bytes to the layer above, the same for every protocol. It is the boundary where a mistake of ours must
 * not become the end of the server: what is thrown while a message is handled is logged, and the next one is read.
 */
export function createReceiver(deps: { limits: Limits; user: TransportUser; events: Events; log: Logger }): Receiver {
  const { limits, user, events, log } = deps
  function guarded(flow: Flow, work: () => void): void {
    try {
      work()
    } catch (err) {
      log.error({ err, protocol: flow.protocol, source: flow.remote.address }, 'handling a message failed')
    }
  }
  function malformed(failure: ParseFailure, flow: Flow): void {
    events.emit('malformed', { source: flow.remote.address, protocol: flow.protocol, reason: failure.message })
    guarded(flow, () => user.onMalformed(failure, flow))
  }
  return {
    malformed,
    message(bytes, flow) {
      let sound = true
      guarded(flow, () => {
        try {
          const message = parseMessage(bytes, limits)
          if (message.isRequest) recordSource(message, flow.remote)
          const { method, status } = message
          events.emit('sipMessage', { direction: 'in', method, status, protocol: flow.protocol })
          user.onMessage(message, flow, bytes.length)
        } catch (error) {
          if (!(error instanceof ParseFailure)) throw error
          sound = false
          malformed(error, flow)
        }
      })
      return sound
    },
    sent(bytes, flow) {
      const { method, status } = readSummary(bytes)
      events.emit('sipMessage', { direction: 'out', method, status, protocol: flow.protocol })
    },
  }
}

const cseq = Buffer.from('\nCSeq:')

/** Method and status of a message that we wrote, without parsing it; the method is '' where CSeq is not found. */
export function readSummary(bytes: Buffer): { method: string; status: number } {
  // 'SIP/' opens a response only: a method is followed by a space.
  if (bytes.length < 12 || bytes.readUInt32BE(0) !== 0x5349502f) {
    return { method: bytes.toString('latin1', 0, Math.max(0, bytes.indexOf(0x20))), status: 0 }
  }
  const status = Number(bytes.toString('latin1', 8, 11))
  const at = bytes.indexOf(cseq)
  if (at < 0) return { method: '', status }
  const end = bytes.indexOf(0x0d, at)
  const value = bytes.toString('latin1', at + cseq.length, end < 0 ? bytes.length : end).trimEnd()
  return { method: value.slice(value.lastIndexOf(' ') + 1), status }
}
