import type { AudioCodec } from './audio/audio.ts'

// The seam behind which meetings are mixed: by the audio thread of this program, or by a FreeSWITCH. Ends are those of
// the audio thread in either case, for it owns all sockets; test/contract/mixer.contract.ts says what both must do.

export interface Mixer {
  /**
   * Whether mixes are made in the audio thread. Only there are speaker slots and recordings of single speakers to be had;
   * a mix that is made elsewhere is heard by everybody on one line.
   */
  readonly local: boolean
  state(): MixerState
  /** Refuses `media-unavailable` when what mixes is away. */
  open(wish: MixWish): Promise<Mix>
}

export interface MixerState {
  /** Whether new meetings can begin. */
  on: boolean
  /** In words for people. */
  why: string
}

export interface MixWish {
  /** Most people who are heard at once; a FreeSWITCH decides by itself. */
  speakers: number
  /** Others make it from now on: `id` and `local` have changed, everybody who was in it is in it still. */
  onMoved?: (() => void) | undefined
}

export interface Mix {
  /** Its name in the events `speaker` and `slot`. */
  readonly id: string
  readonly local: boolean
  /** Puts an end in, or changes how it is in. */
  add(end: string, as: MixMember): Promise<void>
  mute(end: string, muted: boolean): Promise<void>
  /** Takes an end out, whether or not it is still there; idempotent. */
  remove(end: string): Promise<void>
  /** Id of a mix of the audio thread in which all are heard, for recordings. */
  tap(): Promise<string>
  /** It is needed no longer. */
  untap(): Promise<void>
  /** Idempotent; its ends stay, and hear nothing. */
  close(): Promise<void>
}

export interface MixMember {
  muted: boolean
  /** It hears speaker slots and needs no mix of its own; without effect where the mix is not `local`. */
  slots: boolean
  /** What it speaks, so that nothing between it and the mix needs to be decoded. */
  codec?: AudioCodec | undefined
  /** How it is shown in recordings. */
  name?: string | undefined
}
