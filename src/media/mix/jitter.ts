// The jitter buffer of one stream. Pure: packets go in as they come, and every tick tells what its 20 ms are to be made
// of. Time is RTP's, in units of the stream's clock; only the measuring of lateness looks at the wall.

/** What the buffer needs to know of a packet. */
export interface Timed {
  sequence: number
  timestamp: number
  /** In units of the RTP clock. */
  samples: number
}

/** What comes next, with its length in units of the RTP clock. */
export type Due<P extends Timed> =
  | { kind: 'packet'; packet: P; samples: number }
  /** To be concealed; `next` is the packet right behind the gap, which may tell something of what is missing. */
  | { kind: 'lost'; samples: number; next: P | undefined }
  /** The sender pauses, or has not begun: silence. */
  | { kind: 'pause'; samples: number }

export interface JitterBuffer<P extends Timed> {
  put(packet: P, now: number): void
  /**
   * What the next `ms` are to be made of, and perhaps a little more, which the next pull then needs no more. More or less
   * than 20 ms bring the stream nearer or put it off.
   */
  pull(ms: number): Due<P>[]
  /** The sender said that it pauses (comfort noise): what is missing from now on is silence and no loss. */
  rest(): void
  /** Milliseconds by which the stream lies further behind (positive) or nearer (negative) than it should. */
  surplus(): number
  /** Forgets all but the counters: another stream begins. */
  reset(): void
  readonly stats: { lost: number; late: number; jitterMs: number; delayMs: number }
}

const FRAME_MS = 20
/** Slack that even a perfect network gets: ticks of ours may be late too. */
const LEAST_MS = 10
const MOST_MS = 180
const FIRST_MS = 20
/** What is missing longer is faded out and taken as a pause. */
const CONCEAL_MS = 60
/** A timestamp further off than this belongs to another stream. */
const JUMP_MS = 2000
/** What lies further ahead would be heard too late: the stream is aligned anew. */
const FAR_MS = 500
const MOST_PACKETS = 64

/** How late packets come beyond the fastest, as a histogram that forgets within some ten seconds. */
class Lateness {
  static readonly #BIN_MS = 5
  readonly #bins = new Float64Array(60)
  #weight = 1
  #sum = 0
  #base = Infinity
  #nextBase = Infinity
  #basedAt = 0
  #last: { transit: number } | undefined
  jitterMs = 0

  /** Takes one packet's transit time (arrival less timestamp, both in ms, from anywhere); gives its lateness. */
  add(transit: number, now: number): number {
    // The fastest of the last ten to twenty seconds: a sender's clock that runs slow would make everything late for ever.
    if (now - this.#basedAt > 10_000) {
      this.#base = this.#nextBase
      this.#nextBase = Infinity
      this.#basedAt = now
    }
    this.#nextBase = Math.min(this.#nextBase, transit)
    this.#base = Math.min(this.#base, transit)
    // RFC 3550 section 6.4.1.
    if (this.#last) this.jitterMs += (Math.abs(transit - this.#last.transit) - this.jitterMs) / 16
    this.#last = { transit }
    const late = transit - this.#base
    const bin = Math.min(this.#bins.length - 1, Math.ceil(late / Lateness.#BIN_MS))
    this.#weight *= 1.002
    this.#bins[bin]! += this.#weight
    this.#sum += this.#weight
    if (this.#weight > 1e9) this.#scale()
    return late
  }

  #scale(): void {
    for (let i = 0; i < this.#bins.length; i++) this.#bins[i]! /= this.#weight
    this.#sum /= this.#weight
    this.#weight = 1
  }

  /** The lateness that only three packets in a hundred exceed. */
  most(): number {
    let left = this.#sum * 0.03
    for (let bin = this.#bins.length - 1; bin > 0; bin--) {
      left -= this.#bins[bin]!
      if (left < 0) return bin * Lateness.#BIN_MS
    }
    return 0
  }

  /** The transits mean nothing any more; how much they spread does. */
  rebase(): void {
    this.#base = Infinity
    this.#nextBase = Infinity
    this.#last = undefined
  }
}

/** Signed difference of 32-bit timestamps. */
const since = (timestamp: number, earlier: number): number => (timestamp - earlier) | 0
/** Signed difference of 16-bit sequence numbers. */
const after = (sequence: number, earlier: number): number => ((sequence - earlier) << 16) >> 16

/** Makes a buffer for a stream whose RTP clock runs at `clockRate` Hz. */
export function createJitterBuffer<P extends Timed>(clockRate: number): JitterBuffer<P> {
  const perMs = clockRate / 1000
  const lateness = new Lateness()
  const waiting: P[] = []
  const due: Due<P>[] = []
  const stats = { lost: 0, late: 0, jitterMs: 0, delayMs: 0 }
  /** Timestamp that is needed next; undefined before the first packet. */
  let wanted: number | undefined
  /** How far it has moved since the first packet. */
  let played = 0
  let lastSequence = 0
  /** Units given beyond what was pulled. */
  let spare = 0
  /** Units for which the clock has stood still because nothing was there. */
  let stalled = 0
  let resting = true
  let delay = FIRST_MS
  /** Milliseconds that packets wait before they are wanted, smoothed. */
  let waited = 0
  let measured = false
  /** A packet far off; the next one decides whether a new stream begins or it was astray. */
  let suspect: P | undefined

  function advance(units: number): void {
    wanted = (wanted! + units) >>> 0
    played += units
  }

  const target = () => Math.min(MOST_MS, Math.max(LEAST_MS, lateness.most() + LEAST_MS / 2))

  /** Lets `packet` be played after the delay that the stream needs now, whatever was wanted before. */
  function align(packet: P): void {
    const lead = Math.round((measured ? target() : FIRST_MS) * perMs)
    if (wanted === undefined) wanted = packet.timestamp
    advance(since((packet.timestamp - lead - spare) >>> 0, wanted))
    stalled = 0
    delay = lead / perMs
    waited = delay
  }

  function begin(packet: P): void {
    waiting.length = 0
    suspect = undefined
    lateness.rebase()
    lastSequence = (packet.sequence - 1) & 0xffff
    resting = true
    align(packet)
  }

  /** Whether the packet belongs to what is being played; a second stray one that follows the first begins a new stream. */
  function belongs(packet: P): boolean {
    const off = since(packet.timestamp, wanted!)
    if (off > -JUMP_MS * perMs && off < stalled + JUMP_MS * perMs) return true
    const first = suspect
    suspect = packet
    if (!first || !follows(packet, first)) return false
    begin(first)
    insert(first)
    return true
  }

  /** A talk spurt begins: the moment to take up the delay that is needed, for nobody hears a pause change its length. */
  function resume(packet: P): void {
    stats.lost += Math.min(50, Math.max(0, after(packet.sequence, lastSequence) - 1))
    lastSequence = (packet.sequence - 1) & 0xffff
    // Its clock may have stood still meanwhile, which must not count as lateness.
    lateness.rebase()
    align(packet)
  }

  /** Whether two packets can be of one stream, some between them perhaps lost. */
  function follows(packet: P, first: P): boolean {
    const step = after(packet.sequence, first.sequence)
    const time = since(packet.timestamp, first.timestamp)
    return step > 0 && step <= MOST_PACKETS && time > 0 && time <= JUMP_MS * perMs
  }

  function insert(packet: P): void {
    let at = waiting.length
    while (at > 0 && since(waiting[at - 1]!.timestamp, packet.timestamp) > 0) at--
    if (at > 0 && waiting[at - 1]!.timestamp === packet.timestamp) return
    if (at === waiting.length) waiting.push(packet)
    else waiting.splice(at, 0, packet)
    if (waiting.length > MOST_PACKETS) {
      const dropped = waiting.shift()!
      advance(since(waiting[0]!.timestamp, wanted!))
      lastSequence = dropped.sequence
      stats.late++
    }
  }

  function measure(packet: P, now: number): void {
    // From the beginning of the stream, so that nothing wraps.
    const ahead = since(packet.timestamp, wanted!)
    const late = lateness.add(now - (played + ahead) / perMs, now)
    // Time for which the clock stood still will be skipped when this packet is reached.
    const slack = (Math.max(0, ahead - stalled) + spare) / perMs
    delay += (slack + late - delay) / 16
    waited += (slack - waited) / 16
    measured = true
    if (slack > FAR_MS) begin(packet)
    stats.jitterMs = lateness.jitterMs
    stats.delayMs = delay
  }

  function next(ms: number): Due<P> {
    const frame = Math.round(FRAME_MS * perMs)
    if (wanted === undefined) return { kind: 'pause', samples: Math.ceil(ms * perMs) }
    while (waiting[0] && since(waiting[0].timestamp, wanted) + waiting[0].samples <= 0) {
      waiting.shift()
      stats.late++
    }
    const first = waiting[0]
    if (!first) return starve(frame)
    const gap = since(first.timestamp, wanted)
    if (gap > 0) return bridge(first, gap, frame)
    waiting.shift()
    resting = false
    stalled = 0
    lastSequence = first.sequence
    // A packet that begins a little earlier than wanted (the sender has changed its packet time) is played whole.
    advance(first.samples + gap)
    return { kind: 'packet', packet: first, samples: first.samples }
  }

  /** Nothing is there: the clock stands still, for what comes next may be late, lost or silent, and only it can tell. */
  function starve(frame: number): Due<P> {
    stalled += frame
    if (stalled > CONCEAL_MS * perMs) resting = true
    if (resting) return { kind: 'pause', samples: frame }
    return { kind: 'lost', samples: frame, next: undefined }
  }

  /** Something is there, but not yet what is wanted. */
  function bridge(first: P, gap: number, frame: number): Due<P> {
    const missing = after(first.sequence, lastSequence) - 1
    // What was waited for meanwhile is waited for no more.
    const skip = Math.min(gap, stalled)
    stalled = 0
    if (skip > 0) {
      if (missing > 0) stats.lost += Math.min(missing, 50)
      advance(skip)
      if (skip === gap) return next(0)
      gap -= skip
    }
    if (missing > 0 && !resting && skip === 0 && delay < target() - FRAME_MS / 2) {
      // The network needs more time than the stream has: what is missing is perhaps only late, and a gap is to be heard
      // in any case, so that the time is gained here.
      delay += FRAME_MS
      return { kind: 'lost', samples: frame, next: undefined }
    }
    const samples = Math.min(gap, frame)
    advance(samples)
    if (missing <= 0 || resting || gap > JUMP_MS * perMs) return { kind: 'pause', samples }
    if (skip === 0 && samples === gap) stats.lost += Math.min(missing, 50)
    return { kind: 'lost', samples, next: gap <= frame ? first : undefined }
  }

  return {
    put(packet, now) {
      if (packet.samples <= 0) return
      if (wanted === undefined) begin(packet)
      else if (!belongs(packet)) return
      else if (resting && stalled > 0 && waiting.length === 0) resume(packet)
      suspect = undefined
      measure(packet, now)
      if (since(packet.timestamp, wanted!) + packet.samples <= 0) {
        stats.late++
        return
      }
      insert(packet)
    },
    pull(ms) {
      due.length = 0
      delay -= ms - FRAME_MS
      waited -= ms - FRAME_MS
      let need = Math.round(ms * perMs) - spare
      while (need > 0) {
        const one = next(need / perMs)
        due.push(one)
        need -= one.samples
      }
      spare = -need
      return due
    },
    rest() {
      if (waiting.length === 0) resting = true
    },
    // While a sender that stood still is taken to be late, no more may be given up than what really waits.
    surplus: () => (measured && !resting ? Math.min(delay - target(), waited) : 0),
    reset() {
      wanted = undefined
      waiting.length = 0
      suspect = undefined
      measured = false
      resting = true
      stalled = 0
    },
    stats,
  }
}
