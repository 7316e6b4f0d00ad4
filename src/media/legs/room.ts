import type { Logger } from '../../log.ts'
import type { AudioEngine } from '../audio/audio.ts'
import type { Membership } from '../media.ts'
import type { Mixer } from '../mixer.ts'
import type { Leg } from './leg.ts'

/**
 * What legs hear and see of each other. Every change runs in the room's turn and looks at its legs as they are then, so
 * that it does not matter what has happened while it waited.
 */
export interface Room {
  readonly id: string
  readonly transient: boolean
  legs(): readonly Leg[]
  add(leg: Leg, as: Membership): Promise<void>
  remove(leg: Leg): Promise<void>
  /** The leg has agreed on something else, or was rebuilt. */
  changed(leg: Leg): Promise<void>
  /** Loudest now, by end of the audio thread. */
  speaker(end: string | undefined): void
  /** Whose speech a slot carries from now on. */
  slot(slot: number, end: string | undefined): void
  /** The audio thread has died, and everything in it. */
  reset(): void
  /** The mix that everybody hears, if they do. */
  mixed(): Promise<string> | undefined
  /** Has everybody hear a mix, for a recording, until `unmix`. Refuses `not-acceptable-here`. */
  mix(): Promise<string>
  unmix(): Promise<void>
  close(): Promise<void>
}

export interface RoomDeps {
  id: string
  transient: boolean
  audio: AudioEngine
  /** What mixes meetings. */
  mixer: Mixer
  log: Logger
  /** Names a mix of the audio thread as this room's, so that its events come here; or no longer. */
  onMix: (mix: string, open: boolean) => void
  /** Most people who are heard at once. */
  speakers: number
}

/** What tells whether an end has to be joined or linked anew. */
export function keyOf(leg: Leg | undefined): string {
  const voice = leg?.voice()
  return voice === undefined ? '' : `${voice.end} ${voice.codec}`
}
