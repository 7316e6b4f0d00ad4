import { Refusal } from '../errors.ts'
import type { AudioEngine } from './audio/audio.ts'
import type { Mix, Mixer } from './mixer.ts'

/** Mixes meetings in the audio thread. */
export function createEmbeddedMixer(audio: AudioEngine): Mixer {
  return {
    local: true,
    state: () => ({ on: true, why: 'in this process' }),
    open: async ({ speakers }) => embeddedMix(audio, await audio.openMix({ speakers })),
  }
}

/** A mix that is open in the audio thread. */
export function embeddedMix(audio: AudioEngine, id: string): Mix {
  return {
    id,
    local: true,
    async add(end, { muted, slots, name }) {
      await audio.join(end, id, { muted, slots })
      if (name !== undefined) await audio.name(end, name)
    },
    mute: (end, muted) => audio.mute(end, muted),
    remove: end => unlinked(audio, end),
    tap: async () => id,
    async untap() {},
    close: () => audio.closeMix(id),
  }
}

/** Takes an end out of what it is in; one that has ended meanwhile is in nothing. */
export async function unlinked(audio: AudioEngine, end: string): Promise<void> {
  try {
    await audio.unlink(end)
  } catch (error) {
    if (!(error instanceof Refusal && error.code === 'not-found')) throw error
  }
}
