import { readFileSync } from 'node:fs'

// Who hears whom is told by tones: each participant has its own, and the others' recordings must hold it.

export interface Sound {
  rate: number
  /** One channel, -1 to 1. */
  samples: Float32Array
}

/** Reads a WAV file of 16-bit PCM; of several channels the first. Its header may still say length 0 (a recorder that was killed). */
export function readWav(file: string): Sound {
  const bytes = readFileSync(file)
  if (bytes.toString('latin1', 0, 4) !== 'RIFF' || bytes.toString('latin1', 8, 12) !== 'WAVE')
    throw new Error(`${file} is no WAV file`)
  let [rate, channels, at] = [8000, 1, 12]
  while (at + 8 <= bytes.length) {
    const name = bytes.toString('latin1', at, at + 4)
    const size = bytes.readUInt32LE(at + 4)
    if (name === 'fmt ') {
      channels = bytes.readUInt16LE(at + 10)
      rate = bytes.readUInt32LE(at + 12)
    }
    if (name === 'data') break
    at += 8 + size + (size % 2)
  }
  const data = bytes.subarray(at + 8)
  const samples = new Float32Array(Math.floor(data.length / 2 / channels))
  for (let i = 0; i < samples.length; i++) samples[i] = data.readInt16LE(i * 2 * channels) / 32768
  return { rate, samples }
}

/** Share of a stretch's energy that lies at `frequency` (Goertzel): near 1 for the pure tone, near 0 without it. */
export function shareOf(sound: Sound, frequency: number, from = 0, to = sound.samples.length): number {
  const w = (2 * Math.PI * frequency) / sound.rate
  const c = 2 * Math.cos(w)
  let [s1, s2, energy] = [0, 0, 0]
  for (let i = from; i < to; i++) {
    const x = sound.samples[i]!
    energy += x * x
    const s0 = x + c * s1 - s2
    s2 = s1
    s1 = s0
  }
  const power = s1 * s1 + s2 * s2 - c * s1 * s2
  return energy < 1e-6 ? 0 : (2 * power) / ((to - from) * energy)
}

/** How many seconds of a recording are mostly this tone, looked at in pieces of 100 ms; `least` is the share of a mix. */
export function secondsOf(sound: Sound, frequency: number, least = 0.5): number {
  const piece = Math.round(sound.rate / 10)
  let found = 0
  for (let at = 0; at + piece <= sound.samples.length; at += piece) {
    if (shareOf(sound, frequency, at, at + piece) > least) found++
  }
  return found / 10
}

/** A stretch of a pure tone as 16-bit PCM; `from` counts samples, so that frames join without a seam. */
export function tonePcm(rate: number, frequency: number, count: number, from = 0, amplitude = 8000): Int16Array {
  const step = (2 * Math.PI * frequency) / rate
  return Int16Array.from({ length: count }, (_, i) => Math.round(amplitude * Math.sin(step * (from + i))))
}

/** 16-bit PCM as a sound. */
export function soundOf(rate: number, pcm: ArrayLike<number>): Sound {
  return { rate, samples: Float32Array.from(pcm, sample => sample / 32768) }
}

/** Mean level in dB below full scale; a full sine is -3. */
export function levelOf(sound: Sound, from = 0, to = sound.samples.length): number {
  let sum = 0
  for (let i = from; i < to; i++) sum += sound.samples[i]! ** 2
  return 10 * Math.log10(sum / (to - from) + 1e-12)
}
