// Who speaks, and who of them is heard. Pure: levels and the time come in.

/** Decides from levels whether one member speaks, above its own noise. */
export interface Activity {
  /** Takes the level of one packet (RFC 6464: 0 loudest, 127 silence). */
  feed(level: number, now: number): void
  /** Looks whether the pause is long enough; call it every tick, for a silent sender may send nothing. */
  look(now: number): void
  readonly speaking: boolean
  /** Smoothed, in dBov: 0 loudest, -127 silence. */
  readonly loudness: number
  /** When it last was above its noise. */
  readonly heardAt: number
}

/** Nothing below this is speech, nor is anything above NOISE_MOST taken for noise. */
const SPEECH_LEAST = -55
const NOISE_MOST = -42
const ABOVE_NOISE = 10
const NOISE_RISE_PER_S = 1.5
/** Packets in a row that make a beginning: a click is none. One is enough when it is a long one. */
const ATTACK = 2
const LONG_MS = 35
const HANG_MS = 400

/** Makes the activity of one member, silent at first. */
export function createActivity(): Activity {
  let noise = -70
  let fedAt = -Infinity
  let loud = 0
  const self = {
    speaking: false,
    loudness: -127,
    heardAt: -Infinity,
    feed(level: number, now: number): void {
      const db = -level
      // The floor follows quiet at once and noise slowly. A little above silence, for digital silence tells nothing of noise.
      const passed = Math.min(1000, Math.max(0, now - fedAt))
      fedAt = now
      noise = db < noise ? Math.max(db, -75) : Math.min(db, NOISE_MOST, noise + (NOISE_RISE_PER_S * passed) / 1000)
      self.loudness += (db - self.loudness) * (db > self.loudness ? 0.4 : 0.08)
      const over = db > Math.max(SPEECH_LEAST, noise + ABOVE_NOISE)
      loud = over ? loud + (passed > LONG_MS ? ATTACK : 1) : 0
      if (loud >= ATTACK || (over && self.speaking)) {
        self.heardAt = now
        self.speaking = true
      }
    },
    look(now: number): void {
      if (self.speaking && now - self.heardAt > HANG_MS) self.speaking = false
      if (now - fedAt > 200) self.loudness = Math.max(-127, self.loudness - 2)
    },
  }
  return self
}

/** One who may be chosen. */
export interface Candidate {
  id: string
  speaking: boolean
  loudness: number
  heardAt: number
}

const LOUDER_DB = 6
const CHALLENGE_MS = 300
const STAY_MS = 1000

/**
 * Chooses the `places` loudest, and keeps a choice as long as it can: a place is taken from who is silent longest, or
 * from who speaks but has long been much quieter than a challenger.
 */
export interface Choice {
  /** From now on there are so many places; those given away stay as far as there are. */
  resize(places: number): void
  /** Updates and gives the holders by place; undefined where nobody ever spoke. */
  choose(candidates: readonly Candidate[], now: number): readonly (string | undefined)[]
}

interface Holder {
  id: string
  since: number
}

/** Makes a choice of `initial` holders. */
export function createChoice(initial: number): Choice {
  let places = initial
  const holders: (Holder | undefined)[] = []
  const ids: (string | undefined)[] = []
  /** Since when somebody outside has been much louder than somebody inside. */
  let challenge: { id: string; since: number } | undefined

  /** The place to give away: a free one, the one silent longest, or else the quietest. */
  function weakest(candidates: readonly Candidate[]): { place: number; holder: Candidate | undefined } {
    let [place, worst] = [0, holderOf(0, candidates)]
    for (let i = 0; i < places; i++) {
      const one = holderOf(i, candidates)
      if (!one) return { place: i, holder: undefined }
      if (worst && weaker(one, worst)) [place, worst] = [i, one]
    }
    return { place, holder: worst }
  }

  const holderOf = (place: number, candidates: readonly Candidate[]): Candidate | undefined =>
    holders[place] && candidates.find(one => one.id === holders[place]?.id)

  function weaker(one: Candidate, other: Candidate): boolean {
    if (one.speaking !== other.speaking) return other.speaking
    return one.speaking ? one.loudness < other.loudness : one.heardAt < other.heardAt
  }

  /** Whether the challenger may take the place now, or has yet to be louder for a while. */
  function prevails(challenger: Candidate, place: number, holder: Candidate | undefined, now: number): boolean {
    if (!holder?.speaking) return true
    if (challenger.loudness < holder.loudness + LOUDER_DB || now - holders[place]!.since < STAY_MS) {
      challenge = undefined
      return false
    }
    if (challenge?.id !== challenger.id) challenge = { id: challenger.id, since: now }
    return now - challenge.since >= CHALLENGE_MS
  }

  return {
    resize(count) {
      places = count
      holders.length = Math.min(holders.length, count)
      ids.length = Math.min(ids.length, count)
    },
    choose(candidates, now) {
      if (places === 0) return ids
      for (let i = 0; i < places; i++) if (holders[i] && !holderOf(i, candidates)) holders[i] = undefined
      const outside = candidates.filter(one => one.speaking && !holders.some(holder => holder?.id === one.id))
      outside.sort((a, b) => b.loudness - a.loudness)
      if (outside.length === 0) challenge = undefined
      for (const challenger of outside) {
        const { place, holder } = weakest(candidates)
        if (!prevails(challenger, place, holder, now)) break
        holders[place] = { id: challenger.id, since: now }
        challenge = undefined
      }
      for (let i = 0; i < places; i++) ids[i] = holders[i]?.id
      return ids
    },
  }
}
