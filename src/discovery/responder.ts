import type { Logger } from '../log.ts'
import { conflicts, tieBreak } from './conflict.ts'
import type { Link, Received, Sender } from './link.ts'
import { sameName } from './names.ts'
import { identityOf, type OwnRecord, type WireRecord } from './records.ts'
import { createReplies } from './replies.ts'
import { type Timing, within } from './timing.ts'

/** Holds this host's names on one link: probes for them, announces, answers and defends them (RFC 6762 sections 6, 8, 9). */
export interface Responder {
  /** Takes up `records` in place of the ones before: withdraws what is gone, probes for new names, announces. */
  use(records: readonly OwnRecord[], pauseMs?: number): void
  /** Gives the name up that another host may have, and probes for it again. */
  probeAgain(name: string, pauseMs: number): void
  /** True when every name is claimed here. */
  settled(): boolean
  receive(packet: Received, from: Sender): void
  /** Withdraws all and stops. */
  close(goodbye: boolean): Promise<void>
}

const probes = 3

export function createResponder(deps: {
  link: Link
  timing: Timing
  random: () => number
  now: () => number
  log: Logger
  /** Says whether an address is one of this machine. */
  isLocal: (address: string) => boolean
  /** Every name is claimed on this link. */
  claimed: () => void
  /** Another host holds `name`; `held`: we had claimed it already. */
  conflict: (name: string, held: boolean, by: string) => void
  failed: (cause: Error) => void
}): Responder {
  const { link, timing, random, log } = deps
  let records: readonly OwnRecord[] = []
  /** Names in lower case, as in `needs`. */
  const held = new Set<string>()
  let probing: { sent: number } | undefined
  let timer: NodeJS.Timeout | undefined
  let rescue: NodeJS.Timeout | undefined
  let closed = false

  const spoken = () => records.filter(r => held.has(r.needs))
  const replies = createReplies({ ...deps, records: spoken })
  const names = () => new Set(records.filter(r => r.unique).map(r => r.name.toLowerCase()))
  const free = () => [...names()].filter(name => !held.has(name))
  const settled = () => records.length > 0 && free().length === 0

  // A service is not spoken of before its host name is ours: until then nobody knows which name it will be.
  const startProbing = (waitMs: number) => {
    clearTimeout(timer)
    probing = { sent: 0 }
    timer = setTimeout(probe, waitMs)
  }

  function probe(): void {
    if (!probing) return
    if (probing.sent === probes) {
      probing = undefined
      for (const name of free()) held.add(name)
      announce()
      deps.claimed()
      return
    }
    probing.sent += 1
    const wanted = free()
    // No QU bit, though section 8.1 likes it: where several responders share the port, the answer may go to another one
    // of them (section 15.1).
    const questions = wanted.map(name => ({ name, type: 'ANY' }))
    const authorities = records.filter(r => r.unique && wanted.includes(r.name.toLowerCase()))
    link.send({ kind: 'query', questions, authorities }).catch(deps.failed)
    timer = setTimeout(probe, timing.probe)
  }

  function announce(): void {
    clearTimeout(timer)
    replies.multicast(spoken())
    timer = setTimeout(() => replies.multicast(spoken()), timing.announce)
  }

  /** The tie-break of section 8.2 against a probe of another host. */
  const compare = (query: Received) => {
    for (const name of free()) {
      const theirs = query.authorities.filter(r => sameName(r.name, name))
      if (theirs.length === 0) continue
      const ours = records.filter(r => r.unique && sameName(r.name, name))
      if (tieBreak(ours, theirs) < 0) {
        log.debug({ name }, 'mdns tie-break lost, another host probes for the same name')
        return startProbing(timing.deferred)
      }
    }
  }

  const fromHere = (from: Sender) => deps.isLocal(from.address.split('%')[0]!)
  const isOfThisMachine = (record: WireRecord) =>
    (record.type === 'A' || record.type === 'AAAA') && deps.isLocal(record.data as string)

  /** The first record of another host that takes a name of ours, among the names we hold or those we probe for. */
  const rival = (received: readonly WireRecord[], whileProbing: boolean) => {
    const own = records.filter(r => r.unique && held.has(r.name.toLowerCase()) !== whileProbing)
    return received.find(r => conflicts(own, r, whileProbing) && !isOfThisMachine(r))
  }

  // What another program on this machine, or a reflector, says about our own addresses is no conflict.
  const check = (packet: Received, from: Sender) => {
    const begun = probing !== undefined && probing.sent > 0
    const taken = begun ? rival([...packet.answers, ...packet.additionals], true) : undefined
    const intruder = taken ?? rival(packet.answers, false)
    if (intruder && !fromHere(from)) deps.conflict(intruder.name, intruder !== taken, from.address)
  }

  /** Another program took a record back that is also ours: caches are told that it still holds (section 10.1). */
  const keep = (packet: Received) => {
    const ended = packet.answers.filter(r => r.ttl === 0)
    if (rescue || !ended.some(e => spoken().some(r => sameName(r.name, e.name) && r.identity === identityOf(e)))) return
    rescue = setTimeout(() => {
      rescue = undefined
      replies.multicast(spoken())
    }, timing.announce / 2)
  }

  return {
    settled,
    use(next, pauseMs = 0) {
      if (closed) return
      const key = (r: OwnRecord) => `${r.name} ${r.identity}`
      const kept = new Set(next.map(key))
      const gone = spoken().filter(r => !kept.has(key(r)))
      if (gone.length > 0) void replies.withdraw(gone)
      records = next
      const wanted = names()
      for (const name of held) if (!wanted.has(name)) held.delete(name)
      if (free().length > 0) return startProbing(pauseMs + within(timing.probeStart, random))
      probing = undefined
      announce()
    },
    probeAgain(name, pauseMs) {
      held.delete(name.toLowerCase())
      startProbing(pauseMs + within(timing.probeStart, random))
    },
    receive(packet, from) {
      if (closed) return
      if (packet.kind === 'response') {
        check(packet, from)
        keep(packet)
        return
      }
      if (probing && packet.authorities.length > 0 && !fromHere(from)) compare(packet)
      replies.answer(packet, from)
    },
    async close(goodbye) {
      if (closed) return
      closed = true
      clearTimeout(timer)
      clearTimeout(rescue)
      replies.close()
      if (goodbye && spoken().length > 0) await replies.withdraw(spoken())
    },
  }
}
