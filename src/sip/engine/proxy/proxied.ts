import type { SipMessage } from '../message/message.ts'
import { after } from '../transaction/machine.ts'
import type { Flow } from '../transport/transport.ts'

// A re-INVITE that an application hands to another node leaves no Record-Route in its dialog, so that the ACK of its 2xx
// has to be led after it by what both have in common (RFC 3261 section 13.2.2.4: Call-ID, tags and CSeq number).

const most = 10_000

export interface Proxied {
  remember(invite: SipMessage, flow: Flow): void
  /** Where the INVITE of this ACK went. */
  flowOf(ack: SipMessage): Flow | undefined
  close(): void
}

/** Each is remembered for twice `lifetime` in milliseconds, at least: ringing is not awaited inside a dialog. */
export function createProxied(lifetime: number): Proxied {
  let fresh = new Map<string, Flow>()
  let old = new Map<string, Flow>()
  let timer: NodeJS.Timeout | undefined
  const keyOf = ({ callId, fromTag, toTag, cseq }: SipMessage) => `${callId} ${fromTag} ${toTag} ${cseq.number}`

  function turn(): void {
    old = fresh
    fresh = new Map()
    timer = old.size > 0 ? after(2 * lifetime, turn) : undefined
  }

  return {
    remember(invite, flow) {
      if (fresh.size < most) fresh.set(keyOf(invite), flow)
      timer ??= after(2 * lifetime, turn)
    },
    flowOf(ack) {
      if (fresh.size + old.size === 0) return undefined
      const key = keyOf(ack)
      const flow = fresh.get(key) ?? old.get(key)
      return flow?.closed ? undefined : flow
    },
    close() {
      clearTimeout(timer)
      fresh.clear()
      old.clear()
    },
  }
}
