import type { ReferEvent, RTCSession, SDPEvent } from 'jssip/lib/RTCSession'
import type { CallOptions } from 'jssip/lib/UA'
import { type DialogId, hurryCandidates, pause, replacesHeader } from './jssip.ts'
import { patienceMs } from './mend.ts'
import { type Sip, withStream } from './sip.ts'

/**
 * A new INVITE in place of a dialog that was lost on this side (RFC 3891): after a reload, or when its connection broke
 * in the middle of a request. Tries as long as the server keeps the old one; undefined when it is gone.
 */
export async function reattach(
  sip: () => Sip | undefined,
  to: string,
  dialog: DialogId,
  options: CallOptions,
): Promise<RTCSession | undefined> {
  const until = Date.now() + patienceMs
  while (Date.now() < until) {
    const line = sip()
    if (line?.registered()) {
      const session = await replace(line, to, dialog, options)
      if (session !== 'again') return session
    }
    await pause(500)
  }
  return undefined
}

/**
 * The server calls in place of a session, to carry its media from now on: it is answered at once, with the same microphone.
 * `onTaken` gets the new session and what it was offered; the old one goes then by itself. When that fails, all stays.
 */
export function beReplaced(
  event: ReferEvent,
  stream: MediaStream,
  onTaken: (session: RTCSession, offer: SDPEvent | undefined) => void,
): void {
  let fresh: RTCSession | undefined
  event.accept((session: RTCSession) => {
    fresh = session
  })
  const session = fresh
  if (session === undefined) return
  let offer: SDPEvent | undefined
  session.on('sdp', one => {
    if (one.type === 'offer') offer = one
  })
  hurryCandidates(session)
  session.on('accepted', () => onTaken(session, offer))
  session.answer(withStream(stream))
}

/** `again` when it was only too early. */
function replace(
  on: Sip,
  to: string,
  dialog: DialogId,
  options: CallOptions,
): Promise<RTCSession | undefined | 'again'> {
  return new Promise(resolve => {
    const extraHeaders = [...(options.extraHeaders ?? []), replacesHeader(dialog)]
    const session = on.call(to, { ...options, extraHeaders })
    session.on('accepted', () => resolve(session))
    session.on('failed', ({ message }) => {
      const status = (message as { status_code?: number } | null)?.status_code
      // 503: the node that has it is dying, or out of reach from there.
      resolve(status === 491 || status === 503 || status === undefined ? 'again' : undefined)
    })
  })
}
