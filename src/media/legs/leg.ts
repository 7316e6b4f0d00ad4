import type { types } from 'mediasoup'
import type { Logger } from '../../log.ts'
import type { LegEvent, Profile, Stream } from '../media.ts'
import type { OurLine } from '../sdp/ours.ts'
import type { Place } from './place.ts'

/** One party's media, as rooms and the front of the media room (create.ts) see it. */
export interface Leg {
  readonly id: string
  readonly profile: Profile
  readonly log: Logger
  readonly born: number
  /** What stands for it in the audio thread since its last negotiation; undefined while it has no audio. */
  voice(): Voice | undefined
  /** Its lines for more than one voice and one picture; undefined for phones. */
  readonly scene: Scene | undefined
  offer(change?: OfferChange): Promise<string>
  answer(sdp: string): Promise<void>
  accept(offer: string, streams?: readonly Stream[]): Promise<string>
  streams(): Stream[]
  tell(event: LegEvent): void
  close(): Promise<void>
}

export interface OfferChange {
  streams?: readonly Stream[] | undefined
  restartIce?: boolean | undefined
}

/** An end of the audio thread. `codec` changes when it has to be joined anew, because another one was agreed. */
export interface Voice {
  end: string
  codec: string
}

/** What a browser sends and shows besides its one voice. */
export interface Scene {
  readonly place: Place
  /** The videos that it sends, a shared screen first. */
  videos(): readonly Video[]
  /** mids of the video lines on which it can be sent something. */
  tiles(): readonly string[]
  /** Lines besides that of its own voice, for the voices of others. */
  slots(): readonly OurLine[]
  /** Sends a producer of this leg's router on a line, or nothing; `size` is how large it is shown. */
  show(mid: string, producer: types.Producer | undefined, size?: Size): Promise<void>
  /** Stops and goes on with what a line is sent, at once. */
  pause(mid: string, paused: boolean): Promise<void>
  /** How many pictures it could be sent at most; the owner is asked to offer lines for more when there are more than `tiles`. */
  want(tiles: number): void
}

export interface Video {
  producer: types.Producer
  screen: boolean
}

/** Of how many that are shown at once. */
export type Size = 'large' | 'medium' | 'small'
