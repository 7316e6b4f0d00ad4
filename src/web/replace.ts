import type { RTCSession } from 'jssip/lib/RTCSession'
import type { CallOptions } from 'jssip/lib/UA'
import { type DialogId, pause, replacesHeader } from './jssip.ts'
import { patienceMs } from './mend.ts'
import type { Sip } from './sip.ts'

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
      resolve(status === 491 || status === undefined ? 'again' : undefined)
    })
  })
}
