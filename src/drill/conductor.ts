import { setTimeout as wait } from 'node:timers/promises'
import type { Bus, Json } from '../cluster/bus.ts'
import type { Members } from '../cluster/members.ts'
import { Refusal } from '../errors.ts'
import type { People } from './people.ts'
import type { TestPhone } from './phone.ts'
import { type DrillCall, type DrillHow, type Measures, nothingMeasured } from './report.ts'
import { endTalk, type Mark, markOf, missedSince, soundFlows, startTalk, type Talk, takenAfter } from './talk.ts'
import { until } from './until.ts'

// What is done in a drill, from top to bottom: calls are set up through one node, the node breaks, what that does to them is
// measured from another one, and then the node comes back. Whatever happens, nothing of it is left behind.

export interface ConductorDeps {
  members: Pick<Members, 'find' | 'self' | 'onDeath'>
  bus: Pick<Bus, 'ask'>
  people: People
  /** Records of answered calls from this address at this node. */
  recordsOf(aor: string): Promise<number>
  domain: string
}

export interface Drill {
  id: string
  how: DrillHow
  target: string
  waitSeconds: number
}

// Calls whose sound goes directly, beside one through the node.
const directCalls = 3
const askMs = 5000
const askEveryMs = 100
const knownMs = 10_000
const registerMs = 15_000
const callMs = 15_000
const relayMs = 5000
const takenMs = 15_000
const recordsMs = 20_000
// Sound that is listened to after all is well again.
const afterMs = 1000
const againMs = 50

/** Does a drill; `say` is told each step in words. Rejects where it cannot be done, as with a Refusal when no test call comes about. */
export async function conduct(
  deps: ConductorDeps,
  drill: Drill,
  say: (step: string) => void,
  signal: AbortSignal,
): Promise<Measures> {
  const { members, bus, people } = deps
  const { id, how, target } = drill
  const ask = (verb: string, question: Json, ms = askMs) => bus.ask(target, `drill.${verb}`, question, ms)
  const here = members.self().sip
  const was = members.find(target)
  const found = structuredClone(nothingMeasured)
  let broken = false
  const phones = await hire(people, id)
  const [caller, callee, newcomer] = phones as [TestPhone, TestPhone, TestPhone]
  const aor = `sip:${caller.user}@${deps.domain}`

  /** The calls that are to outlive the node: all through it, one with its sound too. */
  async function setUp(): Promise<Talk[]> {
    const users = phones.map(phone => phone.user)
    const known = await until(async () => (await ask('knows', users)) === true, knownMs, signal, askEveryMs)
    if (!known) throw new Refusal('node-unavailable', `${target} does not get to know new accounts`)
    for (const phone of [caller, callee]) {
      await phone.register(was?.sip ?? '', 1, registerMs)
      await phone.register(here, 2, registerMs)
    }
    const talks: Talk[] = []
    for (let at = 0; at <= directCalls; at++) {
      const talk = await startTalk(caller, callee, 1, callMs, signal)
      talks.push(talk)
      if (at === 0) found.noRelay = await relay(talk)
    }
    say(`${talks.length} calls are up through ${target}`)
    return talks
  }

  /** Brings the sound of a call to the node; in words why it did not come. */
  async function relay(talk: Talk): Promise<string> {
    let why = ''
    const bring = async () => {
      try {
        await ask('relay', aor, callMs)
        why = ''
        return true
      } catch (error) {
        if (!(error instanceof Refusal)) throw error
        why = error.message
        // Its phones hear of the answer a moment before the call counts as answered.
        return error.code !== 'no-such-call' && error.code !== 'request-pending'
      }
    }
    await until(bring, relayMs, signal, askEveryMs)
    if (why !== '') return why
    talk.media = 'relay'
    return (await soundFlows(talk, signal)) ? '' : 'no sound came through the node'
  }

  /** Kills or drains the node; resolves with the moment at which that was so. */
  async function breakIt(): Promise<number> {
    broken = true
    const closed = caller.flow(1)?.closed
    const told = ask('break', { id, how })
    if (how === 'drain') {
      await told
      return performance.now()
    }
    // It may be gone before its answer has left.
    await told.catch(notThere)
    const at = await Promise.race([closed, wait(registerMs, undefined, { signal, ref: false })])
    if (at === undefined) throw new Refusal('server-error', `${target} was told to die, and lives`)
    return at
  }

  /** A phone that nobody knew comes to the node that is left, and calls one that had been registered at both. */
  async function comeAnew(since: number): Promise<void> {
    const began = performance.now()
    const late = since + registerMs
    const register = () => newcomer.register(here, 1, registerMs).then(() => true)
    if (!(await retry(register, late, signal))) return
    found.registerMs = Math.round(performance.now() - began)
    say(`a new registration was accepted after ${found.registerMs} ms`)
    const talk = await retry(() => startTalk(newcomer, callee, 1, callMs, signal), since + callMs, signal)
    if (talk === undefined) return
    found.newCallMs = Math.round(performance.now() - since)
    say(`a new call passed after ${found.newCallMs} ms`)
    await endTalk(talk)
  }

  /** What has become of the calls. */
  async function look(talks: readonly Talk[], marks: readonly Mark[], since: number): Promise<void> {
    await until(() => talks.every(talk => takenAfter(talk, since) !== null), takenMs, signal)
    await wait(afterMs, undefined, { signal })
    const calls = await Promise.all(
      talks.map(async (talk, at): Promise<DrillCall> => {
        const gapMs = await missedSince(talk, marks[at]!)
        return { media: talk.media, takenMs: takenAfter(talk, since), gapMs, kept: await endTalk(talk) }
      }),
    )
    found.calls.push(...calls)
    say(`${calls.filter(call => call.kept).length} of ${calls.length} calls went on and could be hung up`)
  }

  async function comeBack(since: number): Promise<void> {
    if (how === 'drain') await mend()
    else say(`waiting for ${target}, which somebody or something has to start again`)
    const isBack = () => {
      const now = members.find(target)
      return now?.state === 'up' && now.sip !== '' && (how === 'drain' || now.life !== was?.life)
    }
    if (!(await until(isBack, drill.waitSeconds * 1000, signal))) return
    found.returnedMs = Math.round(performance.now() - since)
    say(`${target} is up again`)
    const late = performance.now() + registerMs
    const talk = await retry(
      async () => {
        for (const phone of [caller, callee]) await phone.register(members.find(target)?.sip ?? '', 1, registerMs)
        return startTalk(caller, callee, 1, callMs, signal)
      },
      late,
      signal,
    )
    if (talk === undefined) return
    found.failBackMs = Math.round(performance.now() - since)
    say(`a call passed through ${target}`)
    await endTalk(talk)
  }

  /** Of the calls that were up when the node broke: the one through it after its return is one more. */
  async function countRecords(): Promise<void> {
    const wanted = found.calls.length + (found.failBackMs === null ? 0 : 1)
    const count = async (read: () => Promise<number>) => {
      let last = 0
      await until(async () => (last = await read()) >= wanted, recordsMs, signal, askEveryMs)
      return last
    }
    const read = () => deps.recordsOf(aor)
    const there = async () => Number(await ask('records', aor))
    found.records = { wanted, here: await count(read), there: found.returnedMs === null ? null : await count(there) }
  }

  async function mend(): Promise<void> {
    await ask('mend', { id })
    broken = false
  }

  try {
    let diedAt = 0
    const stop = members.onDeath(dead => {
      if (dead.life === was?.life && how === 'kill') diedAt = performance.now()
    })
    try {
      const talks = await setUp()
      const marks = talks.map(markOf)
      say(how === 'kill' ? `${target} is killed` : `${target} drains`)
      const since = await breakIt()
      await Promise.all([comeAnew(since), look(talks, marks, since)])
      if (diedAt > 0) found.deadMs = Math.round(diedAt - since)
      await comeBack(since)
    } finally {
      stop()
    }
    await countRecords()
    return found
  } finally {
    if (broken && how === 'drain') await mend().catch(notThere)
    // One after the other: the second end of a call has nothing left to hang up.
    for (const phone of phones) await phone.leave()
    await people.dismiss(Date.now())
  }
}

async function hire(people: People, id: string): Promise<TestPhone[]> {
  try {
    return await people.hire(id, 3)
  } catch (error) {
    await people.dismiss(Date.now())
    throw error
  }
}

/** Tries until it works; undefined when it has not in time. */
async function retry<T>(work: () => Promise<T>, late: number, signal: AbortSignal): Promise<T | undefined> {
  while (performance.now() < late) {
    try {
      return await work()
    } catch (error) {
      if (!(error instanceof Refusal)) throw error
      await wait(againMs, undefined, { signal })
    }
  }
  return undefined
}

function notThere(error: unknown): void {
  if (!(error instanceof Refusal)) throw error
}
