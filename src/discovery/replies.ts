import type { Logger } from '../log.ts'
import { type Link, mdnsPort, type Received, type Sender } from './link.ts'
import { type AnswerSet, answer, inPackets, type OwnRecord, type Question, type WireRecord } from './records.ts'
import { type Timing, within } from './timing.ts'

// Bytes of records in one packet: an Ethernet frame less the headers of IPv6, UDP and DNS.
const packetBytes = 1400
// A question may wait half a second for its known answers; so many askers are remembered, the others are answered at once.
const mostWaiting = 64
const mostKnown = 512
// A resolver that knows only unicast DNS must not keep what it cannot be told the end of (RFC 6762 section 6.7).
const legacyTtl = 10

interface Waiting {
  questions: Question[]
  known: WireRecord[]
  timer: NodeJS.Timeout
}

/** Sends records on one link. Failures to send go to `failed`. */
export interface Replies {
  /** Answers a query from what `records` gives at the moment of answering. */
  answer(query: Received, from: Sender): void
  /** Multicasts records, except those that went out less than `apart` milliseconds ago. */
  multicast(records: readonly OwnRecord[], apart?: number, additionals?: readonly OwnRecord[]): void
  /** Takes records back: multicasts them with TTL 0 (RFC 6762 section 10.1). */
  withdraw(records: readonly OwnRecord[]): Promise<void>
  close(): void
}

export function createReplies(deps: {
  link: Link
  records: () => readonly OwnRecord[]
  timing: Timing
  random: () => number
  now: () => number
  failed: (cause: Error) => void
  log: Logger
}): Replies {
  const { link, records, timing, random, now, failed, log } = deps
  const waiting = new Map<string, Waiting>()
  /** When each record of ours was multicast last; forgotten when it is withdrawn. */
  const sentAt = new Map<string, number>()

  const keyOf = (r: OwnRecord) => `${r.name} ${r.identity}`
  const age = (r: OwnRecord) => now() - (sentAt.get(keyOf(r)) ?? Number.NEGATIVE_INFINITY)
  const marked = (r: OwnRecord) => ({ name: r.name, type: r.type, ttl: r.ttl, data: r.data, flush: r.unique })

  const multicast: Replies['multicast'] = (answers, apart = 0, additionals = []) => {
    const due = answers.filter(r => age(r) >= apart)
    for (const r of due) sentAt.set(keyOf(r), now())
    const packets = inPackets(due, packetBytes)
    for (const [i, packet] of packets.entries()) {
      const last = i === packets.length - 1
      const more = last ? (inPackets([...packet, ...additionals], packetBytes)[0] ?? []).slice(packet.length) : []
      link.send({ kind: 'response', answers: packet.map(marked), additionals: more.map(marked) }).catch(failed)
    }
  }

  // A stranger who cannot be reached is no failure of the link.
  const unreachable = (err: Error) => log.debug({ err }, 'mdns asker cannot be reached')

  const unicast = (to: Sender, set: AnswerSet) => {
    for (const packet of inPackets(set.answers, packetBytes)) {
      link
        .send({ kind: 'response', answers: packet.map(marked), additionals: set.additionals.map(marked) }, to)
        .catch(unreachable)
    }
  }

  const legacy = (query: Received, to: Sender) => {
    const plain = (r: OwnRecord) => ({ name: r.name, type: r.type, ttl: Math.min(r.ttl, legacyTtl), data: r.data })
    const { answers, additionals } = answer(query.questions, records(), query.answers)
    if (answers.length === 0) return
    const { id, questions } = query
    link
      .send({ kind: 'response', id, questions, answers: answers.map(plain), additionals: additionals.map(plain) }, to)
      .catch(unreachable)
  }

  const reply = (questions: readonly Question[], known: readonly WireRecord[], apart: number) => {
    const set = answer(questions, records(), known)
    multicast(set.answers, apart, set.additionals)
  }

  /** A QU question gets unicast, but multicast where other caches have not heard the record for long (section 5.4). */
  const asked = (questions: readonly Question[], query: Received, from: Sender) => {
    const { answers, additionals } = answer(questions, records(), query.answers)
    const stale = answers.filter(r => age(r) > (r.ttl * 1000) / 4)
    const fresh = answers.filter(r => !stale.includes(r))
    multicast(stale, timing.announce, fresh.length > 0 ? [] : additionals)
    if (fresh.length > 0) unicast(from, { answers: fresh, additionals })
  }

  const learn = (entry: Waiting, questions: Question[], known: WireRecord[]) => {
    entry.questions.push(...questions.slice(0, mostKnown - entry.questions.length))
    entry.known.push(...known.slice(0, mostKnown - entry.known.length))
  }

  const wait = (from: Sender, questions: Question[], query: Received, ms: number) => {
    const earlier = waiting.get(from.address)
    if (earlier) {
      learn(earlier, questions, query.answers)
      return
    }
    const entry: Waiting = {
      questions,
      known: query.answers,
      timer: setTimeout(() => {
        waiting.delete(from.address)
        reply(entry.questions, entry.known, timing.announce)
      }, ms),
    }
    waiting.set(from.address, entry)
  }

  return {
    multicast,
    answer(query, from) {
      if (query.questions.length === 0) {
        const earlier = waiting.get(from.address)
        if (earlier) learn(earlier, [], query.answers)
        return
      }
      if (from.port !== mdnsPort) return legacy(query, from)
      const [byUnicast, byMulticast] = [query.questions.filter(q => q.unicast), query.questions.filter(q => !q.unicast)]
      if (byUnicast.length > 0) asked(byUnicast, query, from)
      if (byMulticast.length === 0) return
      // A probe has to be answered before the prober is done (section 6).
      if (query.authorities.length > 0) return reply(byMulticast, query.answers, timing.defend)
      const { answers } = answer(byMulticast, records())
      if (answers.length === 0) return
      const alone = answers.every(r => r.unique)
      if (waiting.size >= mostWaiting || (alone && !query.truncated)) {
        return reply(byMulticast, query.answers, timing.announce)
      }
      wait(from, byMulticast, query, within(query.truncated ? timing.truncated : timing.shared, random))
    },
    async withdraw(gone) {
      for (const r of gone) sentAt.delete(keyOf(r))
      const ended = (r: OwnRecord) => ({ name: r.name, type: r.type, ttl: 0, data: r.data })
      await Promise.all(
        inPackets(gone, packetBytes).map(packet => link.send({ kind: 'response', answers: packet.map(ended) })),
      ).catch(failed)
    },
    close() {
      for (const { timer } of waiting.values()) clearTimeout(timer)
      waiting.clear()
    },
  }
}
