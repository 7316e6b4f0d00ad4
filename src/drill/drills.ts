import { randomBytes } from 'node:crypto'
import type { Bus, Json } from '../cluster/bus.ts'
import type { Leader, Member, Members } from '../cluster/members.ts'
import type { Nodes } from '../cluster/nodes.ts'
import { activeOf } from '../cluster/turn.ts'
import { Refusal } from '../errors.ts'
import type { Events } from '../events.ts'
import { type AttendantDeps, attend, type Look } from './attendant.ts'
import { isTestPhone, type People } from './people.ts'
import { conclude, type DrillReport, type DrillWish, nothingMeasured } from './report.ts'
import { isReport, type Reports } from './reports.ts'
import { type DrillPlan, isDue, nextDue } from './schedule.ts'

/** A drill under way, as every node knows it. */
export interface Running {
  id: string
  how: DrillWish['how']
  by: DrillWish['by']
  target: string
  conductor: string
  /** ISO 8601, UTC. */
  began: string
  /** What was done so far, each with the second after its beginning. */
  steps: { at: number; text: string }[]
}

export interface DrillView {
  running: Running | null
  /** Newest first. */
  reports: readonly DrillReport[]
  /** When the calendar wants the next one, ISO 8601; null for never. */
  next: string | null
}

/** Breaks a node by intent, and finds out what that does to calls. */
export interface Drills {
  /**
   * Has a drill begun by a node that is not its target; resolves when it has. Refuses `bad-request` for a node by itself, `not-found`,
   * `node-unavailable` while any node is not up, `request-pending` while one goes on or calls of people would be lost.
   */
  order(wish: DrillWish): Promise<Pick<Running, 'id' | 'target' | 'conductor'>>
  view(): DrillView
  close(): Promise<void>
}

export interface DrillsDeps extends Omit<AttendantDeps, 'members' | 'bus' | 'nodes'> {
  members: Members
  bus: Bus
  leader: Leader
  nodes: Nodes
  people: People
  reports: Reports
  domain: string
  plan: DrillPlan
  events: Events
  now?(): number
  lookEveryMs?: number
}

const beginMs = 5000
const defaultWaitSeconds = 120
// A conductor says again where it is, also for a node that has just started; one that has said nothing for so long is gone.
const sayAgainMs = 15_000
const silentMs = 50_000
const lookEveryMs = 600_000
const adoptedMs = 5000
const longestDrillMs = 3_600_000

export function createDrills(deps: DrillsDeps): Drills {
  const { members, bus, leader, nodes, people, reports, plan, events, log, now = Date.now } = deps
  const control = new AbortController()
  let heard: { running: Running; until: number } | undefined
  let conducting: Promise<void> | undefined

  const stops = [
    attend(deps),
    bus.answer('drill.begin', begin),
    bus.subscribe('drill.progress', (_subject, fact) => {
      const running = fact as unknown as Running
      heard = { running, until: now() + silentMs }
      events.emit('drillChanged', { id: running.id, state: 'running', step: running.steps.at(-1)?.text ?? '' })
    }),
    bus.subscribe('drill.done', (_subject, fact) => {
      if (!isReport(fact)) return
      reports.take(fact)
      void compare()
      events.emit('drillChanged', { id: fact.id, state: fact.result, step: fact.why })
    }),
  ]
  stops.push(
    members.onDeath(({ node }) => {
      const going = running()
      if (going?.conductor === node) abandon(going)
    }),
  )
  const timer = setInterval(() => void look(), deps.lookEveryMs ?? lookEveryMs)
  timer.unref()
  void compare()

  function running(): Running | undefined {
    if (heard === undefined || now() > heard.until) return undefined
    // The report of its end may come from Redis before it comes from the conductor.
    return reports.list().some(({ id }) => id === heard?.running.id) ? undefined : heard.running
  }

  async function compare(): Promise<void> {
    await reports.compare().catch((error: unknown) => log.error({ err: error }, 'reports of drills not compared'))
  }

  /** Of a wish: which node is to break and which is to look on. Throws Refusal. */
  function cast(wish: DrillWish): { target: Member; conductor: Member } {
    const all = newestLives(nodes.list())
    if (all.length < 2) {
      throw new Refusal('bad-request', 'a drill needs a second node that goes on when one dies, and there is none')
    }
    const target = wish.target === undefined ? activeOf(all) : all.find(({ node }) => node === wish.target)
    if (target === undefined) throw new Refusal('not-found', `there is no node ${wish.target ?? 'that is active'}`)
    const away = all.find(({ state }) => state !== 'up')
    if (away !== undefined) {
      throw new Refusal('node-unavailable', `node ${away.node} is ${away.state}: a drill begins only while all are up`)
    }
    const [conductor] = all
      .filter(({ node, roles }) => node !== target.node && roles.includes('sip'))
      .toSorted((a, b) => a.priority - b.priority)
    if (conductor === undefined || [target, conductor].some(({ roles, sip }) => !roles.includes('sip') || sip === '')) {
      throw new Refusal('bad-request', 'a drill needs two nodes that carry calls and are reached over TCP (sip.tcp)')
    }
    return { target, conductor }
  }

  async function order(wish: DrillWish): Promise<Pick<Running, 'id' | 'target' | 'conductor'>> {
    const { target, conductor } = cast(wish)
    const going = running()
    if (going !== undefined) throw new Refusal('request-pending', `a drill of ${going.target} goes on`)
    const id = randomBytes(4).toString('hex')
    const question = { ...wish, id, target: target.node }
    await bus.ask(conductor.node, 'drill.begin', JSON.parse(JSON.stringify(question)) as Json, beginMs)
    return { id, target: target.node, conductor: conductor.node }
  }

  /** Another node, or this one, wants this one to conduct. */
  async function begin(question: Json, from: string): Promise<Json> {
    const wish = question as unknown as DrillWish & { id: string; target: string }
    if (conducting !== undefined || control.signal.aborted) {
      throw new Refusal('request-pending', 'a drill goes on')
    }
    cast(wish)
    const look = (await bus.ask(wish.target, 'drill.look', null)) as unknown as Look
    const { calls, meetings } = look
    if (wish.how === 'kill' && look.replication === 'none' && calls + meetings > 0 && wish.force !== true) {
      throw new Refusal(
        'request-pending',
        `cluster.replication is none, so what goes on at ${wish.target} would be lost (calls: ${calls}, meetings: ${meetings}); wait, drain it, or force it`,
      )
    }
    if (conducting !== undefined) throw new Refusal('request-pending', 'a drill goes on')
    log.warn({ id: wish.id, how: wish.how, target: wish.target, by: wish.by, from, calls, meetings }, 'a drill begins')
    conducting = run(wish).finally(() => {
      conducting = undefined
    })
    return null
  }

  async function run(wish: DrillWish & { id: string; target: string }): Promise<void> {
    const { id, how, by, target, waitSeconds = defaultWaitSeconds } = wish
    const began = now()
    const about = { id, how, by, target, conductor: members.node, began: new Date(began).toISOString() }
    const steps: Running['steps'] = []
    const seconds = () => Math.round((now() - began) / 1000)
    const publish = () => bus.publish('drill.progress', { ...about, steps } as unknown as Json)
    const say = (text: string) => {
      steps.push({ at: seconds(), text })
      log.info({ id }, text)
      publish()
    }
    const again = setInterval(publish, sayAgainMs)
    say(`test phones are made for ${target}`)
    let report: DrillReport
    try {
      const { conduct } = await import('./conductor.ts')
      const found = await conduct(deps, { id, how, target, waitSeconds }, say, control.signal)
      report = conclude({ ...about, seconds: seconds() }, found)
    } catch (error) {
      const stopped = control.signal.aborted ? 'its conductor was told to stop' : undefined
      if (!(error instanceof Refusal) && stopped === undefined) log.error({ err: error, id }, 'a drill failed by a bug')
      const why = stopped ?? (error instanceof Error ? error.message : String(error))
      report = { ...about, ...nothingMeasured, seconds: seconds(), result: 'broken', why, verdict: [] }
    } finally {
      clearInterval(again)
    }
    tell(report)
  }

  function tell(report: DrillReport): void {
    const { id, how, target, result, why, seconds } = report
    const what = result === 'skipped' ? 'the drill of this month is put off' : 'a drill has ended'
    log[result === 'passed' ? 'info' : 'warn']({ id, how, target, result, why, seconds }, what)
    // Heard here at once, and by whoever is away when it comes.
    bus.keep('drill.done', `drill-${id}`, report as unknown as Json).catch((error: unknown) => {
      if (!(error instanceof Refusal)) log.error({ err: error }, 'the report of a drill was not told')
    })
  }

  /** The conductor has died. Each node that is left says so, and it counts once. */
  function abandon({ id, how, by, target, conductor, began }: Running): void {
    const why = `its conductor ${conductor} died`
    const seconds = Math.round((now() - Date.parse(began)) / 1000)
    tell({
      ...{ id, how, by, target, conductor, began, seconds },
      ...nothingMeasured,
      result: 'broken',
      why,
      verdict: [],
    })
    people.dismiss(now()).catch((error: unknown) => {
      log.error({ err: error }, 'the accounts of a drill were not removed')
    })
    // Its calls come here a moment later, and nobody is in them.
    setTimeout(() => void look(), adoptedMs).unref()
  }

  function hangUpLost(): void {
    if (running() !== undefined) return
    for (const { id, from } of deps.calls.list()) if (isTestPhone(from)) deps.calls.hangUp(id)
  }

  /** The calendar, and what a drill has left behind whose conductor died. */
  async function look(): Promise<void> {
    try {
      await compare()
      hangUpLost()
      await leader.run('drill', async () => {
        // One that goes on counts for this month as soon as it has ended.
        if (running() !== undefined) return
        await people.dismiss(now() - longestDrillMs)
        if (isDue(plan, new Date(now()), reports.list())) await keepTheDay()
      })
    } catch (error) {
      if (!(error instanceof Refusal)) log.error({ err: error }, 'the calendar of drills failed')
    }
  }

  /** A drill of the calendar never disturbs anybody: it drains, and only while nobody talks. */
  async function keepTheDay(): Promise<void> {
    try {
      for (const { node } of nodes.list().filter(({ state }) => state === 'up')) {
        const { calls, meetings } = (await bus.ask(node, 'drill.look', null)) as unknown as Look
        if (calls + meetings > 0) throw new Refusal('request-pending', `people talk at ${node}`)
      }
      await order({ how: 'drain', by: 'schedule' })
    } catch (error) {
      if (!(error instanceof Refusal)) throw error
      const began = new Date(now()).toISOString()
      const about = { id: randomBytes(4).toString('hex'), how: 'drain', by: 'schedule', began } as const
      const who = { target: '', conductor: members.node, seconds: 0 }
      tell({ ...about, ...who, ...nothingMeasured, result: 'skipped', why: error.message, verdict: [] })
    }
  }

  return {
    order,
    view: () => ({
      running: running() ?? null,
      reports: reports.list(),
      next: nextDue(plan, new Date(now()), reports.list())?.toISOString() ?? null,
    }),
    async close() {
      clearInterval(timer)
      control.abort(new Refusal('node-unavailable', 'the server stops'))
      for (const stop of stops) stop()
      await conducting
    },
  }
}

/** Whoever has just started may not be sure yet that its earlier life is over. */
function newestLives(all: readonly Member[]): Member[] {
  return all.filter(one => !all.some(other => other.node === one.node && other.since > one.since))
}

/** The drills of a node by itself: there are none. */
export const noDrills: Drills = {
  order: async () => {
    throw new Refusal(
      'bad-request',
      'this server is a node by itself: nothing would go on without it (docs/cluster.md)',
    )
  },
  view: () => ({ running: null, reports: [], next: null }),
  close: async () => undefined,
}
