import { endOf, unavailable } from '../calls/anchor.ts'
import { mayCallAs, notUnderstood, type Party } from '../calls/headers.ts'
import type { Incoming } from '../calls/sip.ts'
import { Refusal } from '../errors.ts'
import type { Media } from '../media/media.ts'

/** Throws Refusal for an INVITE that asks for what nobody knows (420), or calls as somebody else (403). */
export function mayBegin(req: Incoming, caller: Party, isOwn: (host: string) => boolean): void {
  const unknown = notUnderstood(req)
  if (unknown.length > 0) {
    throw new Refusal('bad-extension', undefined, { headers: { Unsupported: unknown.join(', ') } })
  }
  if (mayCallAs(req, caller.user, isOwn) === 'forbidden') {
    throw new Refusal('forbidden', 'A caller may only call as itself')
  }
}

/** A browser is told at once when the part of this server that it needs is not there. */
export function demandSfu(req: Incoming, media: Pick<Media, 'state'>): void {
  const { sfu, why } = media.state()
  if (sfu !== 'ready' && endOf(req).profile === 'webrtc') throw unavailable(why)
}
