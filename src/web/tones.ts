// Sounds of the phone itself, made on the spot.

export type Tone = 'ring' | 'ringback' | 'busy' | 'ended' | 'joined'

export interface Tones {
  /** Begins a tone in place of the one before; `ring` and `ringback` go on until `stop`. */
  start(tone: Tone): void
  stop(): void
  /** The two frequencies of a key (ITU-T Q.23), for the ear of whoever presses it. */
  key(digit: string): void
}

// Notes as [Hz, from, for] in seconds, and the length of the whole, after which it begins again (0: once).
const scores: Record<
  Tone,
  { notes: readonly [hz: number, at: number, length: number][]; again: number; loud: number }
> = {
  ring: {
    notes: [
      [659, 0, 0.18],
      [784, 0.2, 0.18],
      [988, 0.4, 0.36],
      [784, 0.9, 0.18],
      [988, 1.1, 0.36],
    ],
    again: 3,
    loud: 0.3,
  },
  ringback: { notes: [[425, 0, 1]], again: 5, loud: 0.08 },
  busy: {
    notes: [
      [425, 0, 0.4],
      [425, 0.8, 0.4],
      [425, 1.6, 0.4],
    ],
    again: 0,
    loud: 0.1,
  },
  ended: {
    notes: [
      [494, 0, 0.12],
      [370, 0.14, 0.2],
    ],
    again: 0,
    loud: 0.1,
  },
  joined: {
    notes: [
      [523, 0, 0.1],
      [659, 0.12, 0.15],
    ],
    again: 0,
    loud: 0.1,
  },
}

const rows = [697, 770, 852, 941]
const columns = [1209, 1336, 1477]
const keys = ['123', '456', '789', '*0#']

export function createTones(): Tones {
  let audio: AudioContext | undefined
  let gain: GainNode | undefined
  let timer: ReturnType<typeof setInterval> | undefined

  function sound(): AudioContext {
    audio ??= new AudioContext()
    // A browser lets a page be heard only after a touch; it may have come meanwhile.
    if (audio.state === 'suspended') void audio.resume()
    return audio
  }

  function note(hz: number, at: number, length: number, loud: number, to: AudioNode): void {
    const context = sound()
    const begin = context.currentTime + at
    const oscillator = new OscillatorNode(context, { frequency: hz })
    const shape = new GainNode(context, { gain: 0 })
    // Rises and falls within 15 ms: a tone that is cut clicks.
    shape.gain.setValueAtTime(0, begin)
    shape.gain.linearRampToValueAtTime(loud, begin + 0.015)
    shape.gain.setValueAtTime(loud, begin + length - 0.015)
    shape.gain.linearRampToValueAtTime(0, begin + length)
    oscillator.connect(shape).connect(to)
    oscillator.start(begin)
    oscillator.stop(begin + length)
  }

  function stop(): void {
    clearInterval(timer)
    gain?.disconnect()
    gain = undefined
  }

  return {
    start(tone) {
      stop()
      const { notes, again, loud } = scores[tone]
      const out = new GainNode(sound())
      out.connect(sound().destination)
      gain = out
      const once = () => {
        for (const [hz, at, length] of notes) note(hz, at, length, loud, out)
      }
      once()
      if (again > 0) timer = setInterval(once, again * 1000)
    },
    stop,
    key(digit) {
      const row = keys.findIndex(line => line.includes(digit))
      if (row < 0) return
      const column = keys[row]!.indexOf(digit)
      for (const hz of [rows[row]!, columns[column]!]) note(hz, 0, 0.12, 0.06, sound().destination)
    },
  }
}
