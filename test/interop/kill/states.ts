import assert from 'node:assert/strict'
import type { Baresip } from '../../support/baresip.ts'
import { until } from '../../support/pair.ts'
import { secondsOf } from '../../support/tone.ts'
import { callsAt, type Ground, meetingsAt } from './ground.ts'

// The states that a call can be in when something breaks: how phones bring one into it, and what they do afterwards.

export interface Live {
  readonly phones: readonly Baresip[]
  /** Of the call or the meeting, at node `a`. */
  readonly ids: readonly string[]
  /** Seconds without somebody's voice so far, of each who hears somebody; where sound is judged. */
  missed?(): readonly number[] | Promise<readonly number[]>
  /** As soon as it is broken. */
  broken?(): void
  /** Carries on as people would, for `ms` at most, and ends the call; rejects when that does not go. */
  finish(ms: number): Promise<void>
  /** How many BYEs the one got who did not hang up; retransmissions are the same one. */
  byes?(): number
  close?(): Promise<unknown>
}

export interface State {
  readonly name: string
  readonly users: readonly string[]
  readonly group?: string
  /** Nobody is rung who is in the group. */
  readonly quiet?: true
  /** With real browsers: only for faults that take a node, as they cost most of the time. */
  readonly web?: true
  bring(ground: Ground): Promise<Live>
}

const tones = [500, 700, 1100, 1300]

/** Dials, and gives the id of the new call at node `a`. */
async function dial({ pair }: Ground, caller: Baresip, callee: Baresip): Promise<string[]> {
  const { domain } = pair.a
  await caller.command('dial', `sip:${callee.user}@${domain}`)
  // One that answers early says so instead.
  const said = (phone: Baresip, what: string) => phone.events.some(({ type }) => type === what)
  await until(() => said(callee, 'CALL_INCOMING') || said(caller, 'CALL_PROGRESS'), 10_000)
  const calls = await pair.a.api<{ id: string; from: string }[]>('/api/calls')
  const ids = calls.filter(({ from }) => from.includes(`${caller.user}@`)).map(({ id }) => id)
  assert.equal(ids.length, 1, `a call of ${caller.user} at node a`)
  return ids
}

/** Seconds in which a phone has heard a tone in its call; several recordings are parts of it. */
export const hears = (phone: Baresip, tone: number, least?: number) =>
  phone.heard().reduce((sum, sound) => sum + secondsOf(sound, tone, least), 0)

/** Of no meaning but for the difference to a later time. */
export const missedBy = (phone: Baresip, tone: number, least?: number) =>
  performance.now() / 1000 - hears(phone, tone, least)

async function hangUp(one: Baresip, other: Baresip, ms: number): Promise<void> {
  await one.command('hangup')
  await other.event('CALL_CLOSED', ms)
}

const two = async (ground: Ground, [one, other]: readonly string[], answer?: 'early') => {
  const options = [{ tone: tones[0]! }, { tone: tones[1]!, ...(answer && { answer }) }]
  return Promise.all([ground.phone(one!, options[0]), ground.phone(other!, options[1])])
}

function pair(
  name: string,
  users: [string, string],
  bring: (ground: Ground, mum: Baresip, dad: Baresip) => Promise<Omit<Live, 'phones'>>,
  answer?: 'early',
): State {
  return {
    name,
    users,
    async bring(ground) {
      const [mum, dad] = await two(ground, users, answer)
      const byes = () =>
        new Set(Array.from(dad.log().matchAll(/^BYE sip:[\s\S]*?branch=([^;\s]+)/gm), found => found[1])).size
      return { phones: [mum, dad], byes, ...(await bring(ground, mum, dad)) }
    },
  }
}

async function establish(ground: Ground, mum: Baresip, dad: Baresip): Promise<string[]> {
  const ids = await dial(ground, mum, dad)
  await dad.command('accept')
  await Promise.all([mum.event('CALL_ESTABLISHED'), dad.event('CALL_ESTABLISHED')])
  await until(() => hears(dad, tones[0]!) > 0.5, 10_000)
  return ids
}

const ringing = pair('ringing', ['ring1', 'ring2'], async (ground, mum, dad) => ({
  ids: await dial(ground, mum, dad),
  async finish(ms) {
    await dad.command('accept')
    await mum.event('CALL_ESTABLISHED', ms)
    await hangUp(mum, dad, ms)
  },
}))

const early = pair(
  'early media',
  ['early1', 'early2'],
  async (ground, mum, dad) => {
    const ids = await dial(ground, mum, dad)
    // A baresip that answers early listens, and does not speak before it is answered for good.
    await mum.printed(/183 Session Progress \(application\/sdp\)/)
    return {
      ids,
      async finish(ms) {
        await dad.command('accept')
        await mum.event('CALL_ESTABLISHED', ms)
        await hangUp(mum, dad, ms)
      },
    }
  },
  'early',
)

/** The caller is asleep while the 200 comes, so its ACK comes when the node is gone. */
const unacknowledged = pair('answered but before ACK', ['ack1', 'ack2'], async (ground, mum, dad) => {
  const ids = await dial(ground, mum, dad)
  process.kill(mum.pid, 'SIGSTOP')
  await dad.command('accept')
  await until(async () => {
    const calls = await ground.pair.a.api<{ id: string; answered?: string }[]>('/api/calls')
    return calls.some(({ id, answered }) => ids.includes(id) && answered !== undefined)
  }, 10_000)
  return {
    ids,
    broken: () => process.kill(mum.pid, 'SIGCONT'),
    async finish(ms) {
      await mum.event('CALL_ESTABLISHED', ms)
      await hangUp(mum, dad, ms)
    },
  }
})

const established = pair('established', ['talk1', 'talk2'], async (ground, mum, dad) => ({
  ids: await establish(ground, mum, dad),
  missed: () => [missedBy(dad, tones[0]!), missedBy(mum, tones[1]!)],
  finish: ms => hangUp(mum, dad, ms),
}))

const held = pair('on hold', ['hold1', 'hold2'], async (ground, mum, dad) => {
  const ids = await establish(ground, mum, dad)
  await mum.command('hold')
  await dad.printed(/a=(?:sendonly|inactive)/)
  const both = () => dad.log().split('a=sendrecv').length
  const before = both()
  return {
    ids,
    async finish(ms) {
      await mum.command('resume')
      await until(() => both() > before, ms)
      await hangUp(mum, dad, ms)
    },
  }
})

/** The one who was called sends the caller to somebody third, who rings when it breaks. */
const transfer: State = {
  name: 'in transfer',
  users: ['move1', 'move2', 'move3'],
  async bring(ground) {
    const [mum, dad] = await two(ground, this.users)
    const aunt = await ground.phone(this.users[2]!, { tone: tones[2]! })
    const ids = await establish(ground, mum!, dad!)
    await dad!.command('transfer', `sip:${aunt.user}@${ground.pair.a.domain}`)
    await aunt.event('CALL_INCOMING')
    return {
      phones: [mum!, dad!, aunt],
      ids,
      /** With the third when the second is let go, else with whom it was before. */
      async finish(ms) {
        await aunt.command('accept')
        const there = await dad!.event('CALL_CLOSED', ms / 3).catch(() => undefined)
        await hangUp(mum!, there ? aunt : dad!, ms)
      },
    }
  },
}

/** Three phones in the mix of a meeting. */
const meeting: State = {
  name: 'meeting of phones',
  users: ['meet1', 'meet2', 'meet3'],
  group: 'phones',
  async bring(ground) {
    const phones = await Promise.all(
      this.users.map((user, i) => ground.phone(user, { tone: tones[i]!, answer: i === 0 ? 'manual' : 'auto' })),
    )
    await phones[0]!.command('dial', `sip:${this.group}@${ground.pair.a.domain}`)
    const pairs = phones.flatMap((one, i) => tones.slice(0, 3).flatMap((tone, k) => (k === i ? [] : [{ one, tone }])))
    await until(() => pairs.every(({ one, tone }) => hears(one, tone, 0.2) > 0.5), 15_000)
    return {
      phones,
      ids: await meetingsAt(ground.pair.a),
      missed: () => pairs.map(({ one, tone }) => missedBy(one, tone, 0.2)),
      async finish(ms) {
        const { a, b } = ground.pair
        const node = (await meetingsAt(b)).length > 0 ? b : a
        for (const phone of phones) await phone.command('hangup')
        await until(async () => (await meetingsAt(node)).length === 0, ms)
      },
    }
  },
}

export const states = [ringing, early, unacknowledged, established, held, transfer, meeting]

export async function knows(ground: Ground, node: 'a' | 'b', ids: readonly string[]): Promise<boolean> {
  const server = ground.pair[node]
  const all = [...(await callsAt(server)), ...(await meetingsAt(server))]
  return ids.length > 0 && ids.every(id => all.includes(id))
}
