import type { IncomingInfoEvent, OutgoingInfoEvent, RTCSession } from 'jssip/lib/RTCSession'
import type { CallOptions } from 'jssip/lib/UA'
import type { Devices } from './devices.ts'
import type { DialogId } from './jssip.ts'
import type { Meeting } from './meeting.ts'
import type { Showing } from './picture.ts'
import { emptyRoster, type Roster } from './roster.ts'
import type { Sip } from './sip.ts'
import type { Key } from './texts/texts.ts'

/** What a screen shows of a meeting. */
export interface MeetingView {
  readonly id: string
  readonly name: string
  readonly state: 'calling' | 'incoming' | 'talking' | 'mending' | 'ended'
  readonly since?: number
  readonly roster: Roster
  /** One's own id; 0 until it is known. */
  readonly self: number
  readonly muted: boolean
  readonly showing: Showing
  /** What members show, by their id; one's own too. */
  readonly pictures: ReadonlyMap<number, MediaStream>
  readonly speaking: ReadonlySet<number>
  readonly why?: Key
}

export interface SavedMeeting {
  meeting: true
  dialog: DialogId
  address: string
  name: string
  since: number
  muted: boolean
  at: number
}

export interface MeetingDeps {
  devices: Devices
  sip(): Sip | undefined
  /** A new INVITE in place of a dialog that was lost; undefined when that cannot be had. */
  reattach(saved: SavedMeeting, options: CallOptions): Promise<RTCSession | undefined>
  onEnded(meeting: Meeting): void
}

export function firstView(of: { id: string; name: string; incoming?: boolean }): MeetingView {
  return {
    id: of.id,
    name: of.name,
    state: of.incoming ? 'incoming' : 'calling',
    roster: emptyRoster,
    self: 0,
    muted: false,
    showing: 'nothing',
    pictures: new Map(),
    speaking: new Set(),
  }
}

/** What a refusal means to who wanted to come in (docs/meetings.md, Joining). */
export function whyNot(status: number | undefined): Key {
  if (status === 486) return 'meetingFull'
  if (status === 403) return 'meetingLocked'
  if (status === 503) return 'notReady'
  return status === 404 ? 'notFound' : 'failed'
}

/** `5f0c2a91;member=3` → 3; 0 where it is not told. */
export function memberOf(told: string | undefined): number {
  return Number(/;\s*member=(\d+)/.exec(told ?? '')?.[1] ?? 0)
}

export const infoType = 'application/vaartha-meeting+json'

/** Whether the focus asks for a new dialog in place of this one, because it lives on another node now. */
export function wantsRejoin({ originator, info }: IncomingInfoEvent | OutgoingInfoEvent): boolean {
  const ours = (originator as string) === 'remote' && info.contentType?.startsWith(infoType) === true
  return ours && /"rejoin"\s*:\s*true/.test(info.body)
}

/** Whom the video lines show, out of an INFO of the focus; nothing where it tells something else. */
export function tilesOf({ originator, info }: IncomingInfoEvent | OutgoingInfoEvent): Record<string, number | null> {
  if ((originator as string) !== 'remote' || !info.contentType?.startsWith(infoType)) return {}
  try {
    return (JSON.parse(info.body) as { tiles?: Record<string, number | null> }).tiles ?? {}
  } catch {
    // Of a newer server than this page; the roster still tells the rest.
    return {}
  }
}

/** Whether one hears the others by one's pairs with them; on the way to another shape it stays as it is. */
export function playsPairs({ roster, self }: MeetingView, now: boolean): boolean {
  return roster.preparing ? now : roster.shape !== 'sfu' && roster.meshed.includes(self)
}
