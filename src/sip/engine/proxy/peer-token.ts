import { createHmac, hkdfSync, randomBytes, timingSafeEqual } from 'node:crypto'
import type { SipMessage } from '../message/message.ts'

// The user part of a Route by which one node asks another one to send a request by a flow that this one holds (RFC 3261
// section 16.12). It is good for one request only: the keyed hash covers who asks whom, the flow, and what makes the
// request that one. Numbers and times are the sender's own, so that no two clocks have to agree.

export interface PeerToken {
  flow: string
  sender: string
  number: number
  /** Milliseconds of the sender's clock. */
  sent: number
}

export interface PeerTokens {
  /** For one request, complete but for Route and Via, that the node `life` is to send by its `flow`. */
  mint(life: string, flow: string, request: SipMessage): string
  /** Undefined when none of us has written it for this node and this request. */
  read(user: string | undefined, request: SipMessage): PeerToken | undefined
  /** True once for each token, and never for one that was on its way for more than half a minute. */
  claim(token: PeerToken): boolean
}

const macLength = 22
const latestMs = 30_000
/** So much later than the newest one a token may come. */
const window = 1024
// A sender is a run of another node's program.
const mostSenders = 1000

interface Sender {
  highest: number
  recent: Set<number>
  /** The least that our clock was ever ahead of the sender's, which is what it is ahead. */
  ahead: number
}

/** `life` names this run of this node. The first secret signs, each of them is believed. */
export function createPeerTokens(
  life: string,
  secrets: readonly string[],
  now: () => number = () => performance.now(),
): PeerTokens {
  const keys = secrets.map(secret => Buffer.from(hkdfSync('sha256', secret, 'vaartha', 'requests between nodes', 32)))
  const self = randomBytes(6).toString('base64url')
  const senders = new Map<string, Sender>()
  let count = 0

  function mac(key: Buffer, to: string, claims: string, request: SipMessage): string {
    const { method, uri, callId, fromTag = '', toTag = '', cseq } = request
    const text = [to, claims, method, uri, callId, fromTag, toTag, cseq.number].join('\n')
    return createHmac('sha256', key).update(text).digest('base64url').slice(0, macLength)
  }

  return {
    mint(to, flow, request) {
      const claims = `${self}.${(++count).toString(36)}.${Math.round(now()).toString(36)}.${flow}`
      return `n.${mac(keys[0]!, to, claims, request)}.${claims}`
    },
    read(user, request) {
      if (user === undefined || !user.startsWith('n.') || user[2 + macLength] !== '.') return undefined
      const given = Buffer.from(user.slice(2, 2 + macLength), 'latin1')
      const claims = user.slice(3 + macLength)
      const right = keys.some(key => timingSafeEqual(given, Buffer.from(mac(key, life, claims, request), 'latin1')))
      const [sender, number, sent, flow] = claims.split('.', 4)
      if (!right || !sender || !number || !sent || !flow) return undefined
      return { flow, sender, number: Number.parseInt(number, 36), sent: Number.parseInt(sent, 36) }
    },
    claim({ sender: name, number, sent }) {
      let sender = senders.get(name)
      if (sender === undefined) {
        if (senders.size === mostSenders) senders.delete(senders.keys().next().value!)
        sender = { highest: 0, recent: new Set(), ahead: now() - sent }
        senders.set(name, sender)
      }
      sender.ahead = Math.min(sender.ahead, now() - sent)
      if (now() - sent - sender.ahead > latestMs) return false
      if (number <= sender.highest - window || sender.recent.has(number)) return false
      sender.recent.add(number)
      sender.highest = Math.max(sender.highest, number)
      if (sender.recent.size > 2 * window) {
        for (const old of sender.recent) if (old <= sender.highest - window) sender.recent.delete(old)
      }
      return true
    },
  }
}
