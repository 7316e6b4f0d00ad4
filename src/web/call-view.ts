import type { DialogId } from './jssip.ts'
import type { Quality } from './quality.ts'
import type { Key } from './texts/texts.ts'

export type CallState = 'calling' | 'ringing' | 'incoming' | 'talking' | 'mending' | 'ended'

/** What a screen shows of a call. */
export interface CallView {
  readonly id: string
  readonly direction: 'in' | 'out'
  readonly name: string
  /** `user` or `user@domain`. */
  readonly address: string
  readonly state: CallState
  /** When the talk began, in ms since 1970. */
  readonly since?: number
  readonly held: boolean
  readonly heldByPeer: boolean
  readonly muted: boolean
  readonly recorded: boolean
  readonly quality: Quality
  readonly path: 'unknown' | 'direct' | 'server'
  /** Why it has ended. */
  readonly why?: Key
}

/** Enough to take a call up again after the page was loaded anew. */
export interface SavedCall {
  dialog: DialogId
  uri: string
  name: string
  address: string
  direction: 'in' | 'out'
  since: number
  muted: boolean
  held: boolean
  at: number
}

/** Why a call has ended, from what it was before. */
export function whyEnded(cause: string, status: number | undefined, { since, direction }: CallView): Key {
  if (since !== undefined) return 'ended'
  if (cause === 'User Denied Media Access') return 'noMicrophone'
  if (direction === 'in') return 'missed'
  if (status === 486 || status === 600) return 'busy'
  if (status === 603) return 'declined'
  if (status === 404 || status === 604) return 'notFound'
  if (status === 480) return 'notThere'
  if (status === 408) return 'noAnswer'
  if (status === 403) return 'notAllowed'
  if (status === 503) return 'notReady'
  return 'failed'
}
