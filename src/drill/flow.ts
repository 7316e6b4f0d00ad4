import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { connect } from 'node:net'
import type { Limits } from '../config/schema.ts'
import { Refusal } from '../errors.ts'
import { createFramer } from '../sip/engine/message/framer.ts'
import { ParseFailure, type SipMessage } from '../sip/engine/message/message.ts'
import { parseMessage } from '../sip/engine/message/parser.ts'
import { formatHost, parseUri } from '../sip/engine/message/uri.ts'

/** A connection of a test phone to one node, with its transactions. */
export interface Flow {
  /** Our end of it. */
  readonly address: string
  readonly port: number
  readonly open: boolean
  /** Milliseconds of `performance.now()` at which the other end was gone. */
  readonly closed: Promise<number>
  /**
   * Sends a request and gives its final response. Refuses `request-timeout` after `ms`, and `flow-failed` when the
   * connection ends before.
   */
  ask(request: SipMessage, ms: number): Promise<SipMessage>
  /** Sends what wants no answer: a response, or an ACK. */
  send(message: SipMessage): void
  close(): void
}

interface Asked {
  give(response: SipMessage): void
  fail(error: Refusal): void
}

/**
 * Connects to a node, `sip:192.0.2.1:5060;transport=tcp`. `onRequest` hears each request that comes. Refuses `flow-failed` when
 * nobody accepts, `request-timeout` when nobody does so in time.
 */
export async function openFlow(
  place: string,
  limits: Limits,
  ms: number,
  onRequest: (request: SipMessage, flow: Flow) => void,
): Promise<Flow> {
  const uri = parseUri(place)
  if (uri === undefined) throw new Refusal('bad-request', `'${place}' is no SIP address`)
  const socket = connect({ host: uri.host, port: uri.port ?? 5060 })
  socket.setNoDelay()
  try {
    await once(socket, 'connect', { signal: AbortSignal.timeout(ms) })
  } catch (cause) {
    socket.destroy()
    const late = cause instanceof Error && cause.name === 'AbortError'
    throw new Refusal(late ? 'request-timeout' : 'flow-failed', `no connection to ${place}`, { cause })
  }
  const asked = new Map<string, Asked>()
  const framer = createFramer(limits, { onMessage, onPing: () => undefined })
  const closed = new Promise<number>(resolve => {
    socket.once('close', () => {
      for (const { fail } of asked.values()) fail(new Refusal('flow-failed', `the connection to ${place} has ended`))
      asked.clear()
      resolve(performance.now())
    })
  })
  // 'close' follows and says all that there is to say.
  socket.on('error', () => undefined)
  socket.on('data', chunk => {
    try {
      framer.push(chunk)
    } catch (error) {
      if (!(error instanceof ParseFailure)) throw error
      socket.destroy()
    }
  })
  const { localAddress: address = '', localPort: port = 0 } = socket

  function onMessage(bytes: Buffer): void {
    const message = parseMessage(bytes, limits)
    if (message.isRequest) return onRequest(message, flow)
    if (message.status >= 200) asked.get(message.via.branch ?? '')?.give(message)
  }

  const flow: Flow = {
    address,
    port,
    closed,
    get open() {
      return !socket.destroyed && socket.writable
    },
    send(message) {
      if (message.isRequest && !message.has('Via')) addVia(message, flow)
      socket.write(message.toBuffer())
    },
    ask(request, limitMs) {
      const branch = addVia(request, flow)
      return new Promise((resolve, reject) => {
        if (!flow.open) return reject(new Refusal('flow-failed', `the connection to ${place} has ended`))
        const end = () => {
          clearTimeout(timer)
          asked.delete(branch)
        }
        const timer = setTimeout(() => {
          end()
          reject(new Refusal('request-timeout', `${request.method} was not answered within ${limitMs} ms`))
        }, limitMs)
        asked.set(branch, {
          give(response) {
            end()
            resolve(response)
          },
          fail(error) {
            end()
            reject(error)
          },
        })
        socket.write(request.toBuffer())
      })
    },
    close: () => socket.destroy(),
  }
  return flow
}

function addVia(request: SipMessage, { address, port }: Flow): string {
  const branch = `z9hG4bK${randomBytes(9).toString('hex')}`
  request.prepend('Via', `SIP/2.0/TCP ${formatHost(address)}:${port};branch=${branch};rport`)
  return branch
}
