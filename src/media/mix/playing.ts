import type { ToneWish } from '../audio/audio.ts'
import type { MixRate } from '../codec/codec.ts'
import { createResampler } from '../codec/resample.ts'
import { createTone, type Tone } from './tones.ts'

// Tones that are being played in one mix, to one member or to all.

export interface Playings {
  /** Refuses `bad-request` for a prompt that does not exist. */
  play(to: string | undefined, wish: ToneWish): string
  stop(playing: string): void
  /** Ends what is played to a member that goes. */
  leave(member: string): void
  /** The next 20 ms to all, over what is there; gives whether there is anything, and whether it is to be heard alone. */
  toAll(sum: Int32Array): Heard
  /** The same to one member. */
  toOne(member: string, sum: Int32Array): Heard
  /** What begins from now on has this rate, and what is being played is brought to it. */
  retune(rate: MixRate): void
  /** Whether a tone is being played to this member alone. */
  has(member: string): boolean
}

export type Heard = 'nothing' | 'over' | 'alone'

interface Playing {
  id: string
  to: string | undefined
  tone: Tone
  rate: MixRate
}

/** Makes the list of a mix's tones; `onEnd` hears of each that has ended, however it did. */
export function createPlayings(first: MixRate, onEnd: (playing: string) => void): Playings {
  const playing = new Map<string, Playing>()
  const members = new Map<string, number>()
  let rate = first
  let last = 0

  function end(one: Playing): void {
    playing.delete(one.id)
    if (one.to !== undefined) {
      const left = members.get(one.to)! - 1
      if (left === 0) members.delete(one.to)
      else members.set(one.to, left)
    }
    onEnd(one.id)
  }

  function add(to: string | undefined, sum: Int32Array): Heard {
    let heard: Heard = 'nothing'
    for (const one of playing.values()) {
      if (one.to !== to) continue
      // Who waits hears the music and not the meeting.
      if (one.tone.alone && heard !== 'alone') sum.fill(0)
      if (!one.tone.add(sum)) end(one)
      else if (heard !== 'alone') heard = one.tone.alone ? 'alone' : 'over'
    }
    return heard
  }

  return {
    play(to, wish) {
      const id = `play-${++last}`
      playing.set(id, { id, to, tone: createTone(wish, rate), rate })
      if (to !== undefined) members.set(to, (members.get(to) ?? 0) + 1)
      return id
    },
    stop(id) {
      const one = playing.get(id)
      if (one) end(one)
    },
    leave(member) {
      for (const one of playing.values()) if (one.to === member) end(one)
    },
    toAll: sum => (playing.size === 0 ? 'nothing' : add(undefined, sum)),
    toOne: (member, sum) => (members.has(member) ? add(member, sum) : 'nothing'),
    retune(next) {
      rate = next
      for (const one of playing.values()) {
        if (one.rate !== rate) one.tone = toneAt(one.tone, one.rate, rate)
        one.rate = rate
      }
    },
    has: member => members.has(member),
  }
}

/** A tone that was begun at another rate. */
function toneAt(tone: Tone, from: MixRate, to: MixRate): Tone {
  const resampler = createResampler(from, to)
  const sum = new Int32Array(from / 50)
  const pcm = new Int16Array(from / 50)
  return {
    alone: tone.alone,
    add(into) {
      sum.fill(0)
      const more = tone.add(sum)
      pcm.set(sum)
      const out = resampler.run(pcm)
      for (let i = 0; i < into.length; i++) into[i]! += out[i]!
      return more
    },
  }
}
