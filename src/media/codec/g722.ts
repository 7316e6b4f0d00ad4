// ITU-T G.722 at 64 kbit/s: a pair of quadrature mirror filters cuts 16 kHz into two bands of 8 kHz, and each band is
// coded by adaptive differences, the lower with six bits, the upper with two. Names of blocks and tables are those of
// the recommendation's clause 6; all arithmetic is on 16-bit integers as it says there, so that both ends keep the same state.

const QMF = Int32Array.of(3, -11, 12, 32, -210, 951, 3876, -805, 362, -156, 53, -11)
const Q6 = Int32Array.of(
  ...[0, 35, 72, 110, 150, 190, 233, 276, 323, 370, 422, 473, 530, 587, 650, 714, 786, 858, 940, 1023, 1121, 1219],
  ...[1339, 1458, 1612, 1765, 1980, 2195, 2557, 2919],
)
const QM4 = Int32Array.of(
  ...[0, -20456, -12896, -8968, -6288, -4240, -2584, -1200, 20456, 12896, 8968, 6288, 4240, 2584, 1200, 0],
)
const QM6 = Int32Array.of(
  ...[-136, -136, -136, -136, -24808, -21904, -19008, -16704, -14984, -13512, -12280, -11192, -10232, -9360, -8576],
  ...[-7856, -7192, -6576, -6000, -5456, -4944, -4464, -4008, -3576, -3168, -2776, -2400, -2032, -1688, -1360, -1040],
  ...[-728, 24808, 21904, 19008, 16704, 14984, 13512, 12280, 11192, 10232, 9360, 8576, 7856, 7192, 6576, 6000, 5456],
  ...[4944, 4464, 4008, 3576, 3168, 2776, 2400, 2032, 1688, 1360, 1040, 728, 432, 136, -432, -136],
)
const QM2 = Int32Array.of(-7408, -1616, 7408, 1616)
const WL = Int32Array.of(-60, -30, 58, 172, 334, 538, 1198, 3042)
const RL42 = Int32Array.of(0, 7, 6, 5, 4, 3, 2, 1, 7, 6, 5, 4, 3, 2, 1, 0)
/** Step of the logarithmic scale factor by the upper four bits of the lower band's code: WL[RL42[i]]. */
const LOW_STEP = RL42.map(i => WL[i]!)
/** The same for the upper band's two bits: WH[IH2]. */
const HIGH_STEP = Int32Array.of(798, -214, 798, -214)
/** 2048 · 2^(i/32): turns the logarithmic scale factor into a linear one. */
const ILB = Int32Array.from({ length: 32 }, (_, i) => Math.floor(2048 * 2 ** (i / 32) + 0.5))
const LOW_TOP = 18432
const HIGH_TOP = 22528

const saturate = (value: number): number => (value > 32767 ? 32767 : Math.max(value, -32768))

/** LOGSCL or LOGSCH: the next logarithmic scale factor. */
const nextLog = (log: number, step: number, top: number): number =>
  Math.max(0, Math.min(top, ((log * 127) >> 7) + step))

/** SCALEL or SCALEH: the linear scale factor; `shift` is 8 for the lower band and 10 for the upper. */
function linear(log: number, shift: number): number {
  const down = shift - (log >> 11)
  const mantissa = ILB[(log >> 6) & 31]!
  return (down < 0 ? mantissa << -down : mantissa >> down) << 2
}

/** One band's adaptive predictor (blocks 4L and 4H) and scale factor (3L and 3H). */
class Band {
  /** Predicted sample. */
  s = 0
  /** Linear scale factor. */
  det: number
  #log = 0
  #sz = 0
  #a1 = 0
  #a2 = 0
  #r1 = 0
  #p1 = 0
  #p2 = 0
  readonly #b = new Int32Array(6)
  readonly #d = new Int32Array(6)
  readonly #top: number
  readonly #shift: number

  constructor(det: number, top: number, shift: number) {
    this.det = det
    this.#top = top
    this.#shift = shift
  }

  /** Takes over the whole state of another. */
  copy(from: Band): void {
    this.s = from.s
    this.det = from.det
    this.#log = from.#log
    this.#sz = from.#sz
    this.#a1 = from.#a1
    this.#a2 = from.#a2
    this.#r1 = from.#r1
    this.#p1 = from.#p1
    this.#p2 = from.#p2
    this.#b.set(from.#b)
    this.#d.set(from.#d)
  }

  scale(step: number): void {
    this.#log = nextLog(this.#log, step, this.#top)
    this.det = linear(this.#log, this.#shift)
  }

  /** Takes the quantised difference and predicts the next sample. */
  adapt(d0: number): void {
    const r0 = saturate(this.s + d0)
    const p0 = saturate(this.#sz + d0)
    this.#poles(p0)
    this.#zeros(d0)
    this.#p2 = this.#p1
    this.#p1 = p0
    // FILTEP; r1 of the recommendation is the sample just reconstructed once its delay line has moved on.
    const sp = saturate(((this.#a1 * saturate(r0 + r0)) >> 15) + ((this.#a2 * saturate(this.#r1 + this.#r1)) >> 15))
    this.#r1 = r0
    this.s = saturate(sp + this.#sz)
  }

  /** UPPOL2, UPPOL1. */
  #poles(p0: number): void {
    const same1 = p0 >> 15 === this.#p1 >> 15
    const same2 = p0 >> 15 === this.#p2 >> 15
    const slope = saturate(this.#a1 << 2)
    const toward = (same1 ? Math.min(32767, -slope) : slope) >> 7
    const a2 = (same2 ? 128 : -128) + toward + ((this.#a2 * 32512) >> 15)
    this.#a2 = a2 > 12288 ? 12288 : Math.max(a2, -12288)
    const a1 = saturate((same1 ? 192 : -192) + ((this.#a1 * 32640) >> 15))
    const limit = saturate(15360 - this.#a2)
    this.#a1 = a1 > limit ? limit : Math.max(a1, -limit)
  }

  /** UPZERO, DELAYA and FILTEZ in one pass from the oldest difference to the newest. */
  #zeros(d0: number): void {
    const b = this.#b
    const d = this.#d
    const gain = d0 === 0 ? 0 : 128
    const sign = d0 >> 15
    let sz = 0
    for (let i = 5; i >= 0; i--) {
      const toward = d[i]! >> 15 === sign ? gain : -gain
      const bi = saturate(toward + ((b[i]! * 32640) >> 15))
      b[i] = bi
      const di = i === 0 ? d0 : d[i - 1]!
      d[i] = di
      sz += (bi * saturate(di + di)) >> 15
    }
    this.#sz = saturate(sz)
  }
}

const lowBand = () => new Band(32, LOW_TOP, 8)
const highBand = () => new Band(8, HIGH_TOP, 10)

/** Encodes 16 kHz PCM, one byte for two samples. */
export class G722Encoder {
  readonly #low = lowBand()
  readonly #high = highBand()
  readonly #x = new Int32Array(24)

  /** `payload` is at least half as long as `pcm`. */
  encode(pcm: Int16Array, payload: Uint8Array): void {
    const x = this.#x
    for (let i = 0; i + 1 < pcm.length; i += 2) {
      x.copyWithin(0, 2)
      x[22] = pcm[i]!
      x[23] = pcm[i + 1]!
      let odd = 0
      let even = 0
      for (let k = 0; k < 12; k++) {
        odd += x[2 * k]! * QMF[k]!
        even += x[2 * k + 1]! * QMF[11 - k]!
      }
      payload[i >> 1] = (this.#encodeHigh((even - odd) >> 14) << 6) | this.#encodeLow((even + odd) >> 14)
    }
  }

  /** Goes on from where another encoder is. */
  copy(from: G722Encoder): void {
    this.#low.copy(from.#low)
    this.#high.copy(from.#high)
    this.#x.set(from.#x)
  }

  /** QUANTL, then the difference as the decoder will see it (INVQAL, of the four upper bits only). */
  #encodeLow(x: number): number {
    const band = this.#low
    const e = saturate(x - band.s)
    const magnitude = e < 0 ? -(e + 1) : e
    let level = 1
    while (level < 30 && magnitude >= (Q6[level]! * band.det) >> 12) level++
    // Tables ILN and ILP: codes fall with the level, and the two lowest negative ones lie apart.
    const code = e >= 0 ? 62 - level : level < 3 ? 64 - level : 34 - level
    const upper = code >> 2
    const d = (band.det * QM4[upper]!) >> 15
    band.scale(LOW_STEP[upper]!)
    band.adapt(d)
    return code
  }

  #encodeHigh(x: number): number {
    const band = this.#high
    const e = saturate(x - band.s)
    const magnitude = e < 0 ? -(e + 1) : e
    const outer = magnitude >= (564 * band.det) >> 12
    const code = (e < 0 ? 0 : 2) + (outer ? 0 : 1)
    const d = (band.det * QM2[code]!) >> 15
    band.scale(HIGH_STEP[code]!)
    band.adapt(d)
    return code
  }
}

const clip15 = (value: number): number => (value > 16383 ? 16383 : Math.max(value, -16384))

/** Decodes into 16 kHz PCM, two samples for a byte. */
export class G722Decoder {
  readonly #low = lowBand()
  readonly #high = highBand()
  readonly #x = new Int32Array(24)

  /** `pcm` is at least twice as long as `payload`. */
  decode(payload: Uint8Array, pcm: Int16Array): void {
    const x = this.#x
    for (let i = 0; i < payload.length; i++) {
      const code = payload[i]!
      const low = this.#decodeLow(code & 0x3f)
      const high = this.#decodeHigh(code >> 6)
      x.copyWithin(0, 2)
      x[22] = low + high
      x[23] = low - high
      let first = 0
      let second = 0
      for (let k = 0; k < 12; k++) {
        second += x[2 * k]! * QMF[k]!
        first += x[2 * k + 1]! * QMF[11 - k]!
      }
      pcm[2 * i] = saturate(first >> 11)
      pcm[2 * i + 1] = saturate(second >> 11)
    }
  }

  #decodeLow(code: number): number {
    const band = this.#low
    const sample = clip15(band.s + ((band.det * QM6[code]!) >> 15))
    const upper = code >> 2
    const d = (band.det * QM4[upper]!) >> 15
    band.scale(LOW_STEP[upper]!)
    band.adapt(d)
    return sample
  }

  #decodeHigh(code: number): number {
    const band = this.#high
    const d = (band.det * QM2[code]!) >> 15
    const sample = clip15(band.s + d)
    band.scale(HIGH_STEP[code]!)
    band.adapt(d)
    return sample
  }
}

/**
 * How loud a stream is, from the codes of its lower band alone: their scale factor follows the size of the differences,
 * and following it takes one look-up per byte where decoding takes a hundred operations.
 */
export class G722Follower {
  #log = 0

  /** The mean scale factor over `payload`, about the amplitude of the difference signal in units of 16-bit samples. */
  follow(payload: Uint8Array): number {
    let sum = 0
    for (let i = 0; i < payload.length; i++) {
      this.#log = nextLog(this.#log, LOW_STEP[(payload[i]! & 0x3f) >> 2]!, LOW_TOP)
      if ((i & 7) === 7) sum += linear(this.#log, 8)
    }
    return payload.length < 8 ? 0 : sum / (payload.length >> 3)
  }
}
