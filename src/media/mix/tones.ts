import { Refusal } from '../../errors.ts'
import type { ToneWish } from '../audio/audio.ts'
import type { MixRate } from '../codec/codec.ts'
import { createHoldMusic } from './music.ts'

// What the server itself says: tones, made as they are played. A tone is a list of sounds; each is a few sines at once
// for some time, or silence.

/** One tone being played. */
export interface Tone {
  /** Adds the next 20 ms to `sum`; false when it had ended before. */
  add(sum: Int32Array): boolean
  /** Whether who hears it hears nothing else meanwhile. */
  readonly alone: boolean
}

interface Sound {
  hertz: readonly number[]
  ms: number
  /** Of each sine, 0..1 of full scale. */
  loud: number
}

const LOUD = 0.1
const beep = (hertz: number, ms: number, loud = LOUD): Sound => ({ hertz: [hertz], ms, loud })
const rest = (ms: number): Sound => ({ hertz: [], ms, loud: 0 })

// Ringing and busy as in most of Europe (ETSI TR 101 041-2): 425 Hz, 1 s on 4 s off and 0.5 s on 0.5 s off.
const ringback = [beep(425, 1000), rest(4000)]
const busy = [beep(425, 500), rest(500)]
const joined = [beep(523.25, 120), beep(783.99, 180)]
const left = [beep(783.99, 120), beep(523.25, 180)]
const alone = [beep(659.26, 150), rest(100), beep(659.26, 150), rest(100), beep(523.25, 300)]
const muted = [beep(440, 100), rest(60), beep(330, 140)]
const unmuted = [beep(330, 100), rest(60), beep(440, 140)]
// Consent: a long tone and three short ones when recording begins, and 1400 Hz every 15 s while it goes on.
const recordingStart = [beep(1400, 800), rest(200), beep(1400, 150), rest(150), beep(1400, 150), rest(150)]
const recordingBeat = [rest(14_800), beep(1400, 200, 0.06)]

/** What is played first, and what is then repeated when the tone is to loop. */
function sounds(wish: ToneWish): { first: readonly Sound[]; again: readonly Sound[] } {
  const repeat = (list: readonly Sound[], ms = 0) => ({ first: list, again: ms > 0 ? [rest(ms), ...list] : list })
  switch (wish.prompt) {
    case 'ringback':
      return repeat(ringback)
    case 'busy':
      return repeat(busy)
    case 'joined':
      return repeat(joined, 2000)
    case 'left':
      return repeat(left, 2000)
    case 'alone':
      return repeat(alone, 20_000)
    case 'muted':
      return repeat(muted, 2000)
    case 'unmuted':
      return repeat(unmuted, 2000)
    case 'recording':
      return { first: recordingStart, again: recordingBeat }
    case 'still-recording':
      return { first: recordingBeat, again: recordingBeat }
    case 'count':
      return repeat(counted(wish.count ?? 1), 2000)
    default:
      throw new Refusal('bad-request', `There is no prompt "${wish.prompt}"`)
  }
}

/** That many short beeps, in fives, so that they can be counted; above twenty nobody would. */
function counted(count: number): Sound[] {
  const list: Sound[] = []
  for (let i = 1; i <= Math.min(20, Math.max(0, Math.floor(count))); i++) {
    list.push(beep(880, 90), rest(i % 5 === 0 ? 450 : 160))
  }
  return list
}

/** Makes a tone at the mix's rate. Refuses `bad-request` for a prompt that does not exist. */
export function createTone(wish: ToneWish, rate: MixRate): Tone {
  if (wish.prompt === 'hold') return createHoldMusic(rate, wish.loop)
  const { first, again } = sounds(wish)
  const voices = sequence(first, wish.loop ? again : [], rate)
  let voice = voices.next()
  return {
    alone: false,
    add(sum) {
      if (voice.done) return false
      for (let from = 0; from < sum.length && !voice.done; ) {
        from = voice.value(sum, from)
        if (from < sum.length) voice = voices.next()
      }
      return true
    },
  }
}

function* sequence(first: readonly Sound[], again: readonly Sound[], rate: number): Generator<Voice, undefined> {
  for (const sound of first) yield voiceOf(sound, rate)
  while (again.length > 0) for (const sound of again) yield voiceOf(sound, rate)
}

const EDGE_MS = 5

/** Adds to `sum` from an index on and gives the index where the sound ended, or the length. */
type Voice = (sum: Int32Array, from: number) => number

/** One sound from its beginning. */
function voiceOf(sound: Sound, rate: number): Voice {
  const total = Math.round((sound.ms * rate) / 1000)
  const edge = (EDGE_MS * rate) / 1000
  const steps = sound.hertz.map(hertz => (2 * Math.PI * hertz) / rate)
  let done = 0
  return (sum, from) => {
    const count = Math.min(total - done, sum.length - from)
    for (let i = 0; i < count && steps.length > 0; i++) {
      const n = done + i
      // Soft edges, or every beep would click.
      const envelope = Math.min(1, n / edge, (total - n) / edge)
      let value = 0
      for (const step of steps) value += Math.sin(step * n)
      sum[from + i]! += Math.round(value * envelope * sound.loud * 32767)
    }
    done += count
    return from + count
  }
}
