import { setTimeout as wait } from 'node:timers/promises'
import type { Bus } from '../cluster/bus.ts'
import type { Member, Members } from '../cluster/members.ts'
import type { Replication } from '../cluster/replication.ts'
import { Refusal } from '../errors.ts'
import type { Logger } from '../log.ts'
import type { EngineDialogs } from '../sip/dialogs.ts'
import { parseNameAddr } from '../sip/engine/message/message.ts'
import { parseUri } from '../sip/engine/message/uri.ts'
import type { Call } from './call.ts'
import type { OnBindings } from './comeback.ts'
import type { CallContext } from './context.ts'
import { heirOf } from './heir.ts'
import { createKeeping, type Keeper, keepsNothing, legSnapshot } from './keeping.ts'
import { createPass } from './pass.ts'
import { createReach } from './reach.ts'
import type { Located } from './refer.ts'
import { whereIn } from './route.ts'
import { createSeek, type SeekDeps } from './seek.ts'
import { type Incoming, type Reply, reply } from './sip.ts'
import { createTakeover, type MeetingsHere } from './takeover.ts'
import type { Replaces } from './transfer.ts'

/** The other nodes, for calls that are to outlive this one. */
export interface Others {
  replication: Replication
  /** Of the embedded engine. */
  dialogs: EngineDialogs
  members: Pick<Members, 'life' | 'self' | 'list' | 'find' | 'onDeath'>
  bus: Pick<Bus, 'ask' | 'answer'>
  meetings?: MeetingsHere
  /** Bindings that any node changes. */
  onBindings?: OnBindings | undefined
  patienceMs?: number
}

export interface SurvivalDeps extends Omit<SeekDeps, 'dialogs' | 'where' | 'onBindings'> {
  others: Others | undefined
  config: { sessionExpires: number }
  /** Records on a call that another node had recorded. */
  recordOn(call: Call): void
  log: Logger
}

/** What keeps calls for other nodes, takes theirs over and gives ours away. */
export interface Survival {
  keeping: Keeper
  /** From now on calls come from other nodes. */
  start(context: CallContext<Call>, calls: Map<string, Call>): void
  onStray(req: Incoming, res: Reply): Promise<void>
  locate(replaces: Replaces): Promise<Located | undefined>
  /** A call is here no more. */
  forget(call: Call): void
  /** Gives an answered call to another node, which has told both phones when this resolves; false when there is none that takes it. */
  giveAway(call: Call): Promise<boolean>
  close(): void
}

const verb = 'calls.take'
const takeMs = 10_000

export function createSurvival(deps: SurvivalDeps): Survival {
  const { others } = deps
  return others === undefined ? alone : createAmongOthers(deps, others)
}

const alone: Survival = {
  keeping: keepsNothing,
  start: () => undefined,
  onStray: async (req, res) => {
    if (req.method !== 'ACK' && req.source === 'network') reply(res, 481)
  },
  locate: async () => undefined,
  forget: () => undefined,
  giveAway: async () => false,
  close: () => undefined,
}

function createAmongOthers(deps: SurvivalDeps, others: Others): Survival {
  const { replication, dialogs, members, bus } = others
  const { log } = deps
  const keeping = createKeeping({ replication, dialogs, log })
  const seek = createSeek({ ...deps, dialogs, onBindings: others.onBindings, where: whereIn(members) })
  const reach = createReach({ seek, config: deps.config, recordOn: deps.recordOn })
  const ends: (() => void)[] = [seek.close]
  let takeover: ReturnType<typeof createTakeover> | undefined

  async function adopt({ life, node }: Member): Promise<void> {
    if (replication.strategy !== 'hot-standby') return
    try {
      await takeover?.adopt(life)
    } catch (error) {
      // What is left is found when a request for it comes.
      log.error({ err: error, node }, 'not all calls of a dead node could be taken over')
    }
  }

  /** Phones of our own calls that we reached over a dead node are looked for as if their calls had come from there. */
  async function seekLost({ life, sip }: Member, calls: ReadonlyMap<string, Call>): Promise<void> {
    const at = parseUri(sip)
    for (const call of [...calls.values()]) {
      for (const leg of call.legs) {
        const state = leg.ended ? undefined : await dialogs.read(leg.id)
        const route = state?.routes[0]
        const first = route === undefined ? undefined : parseNameAddr(route).uri
        const recorded = first !== undefined && first.host === at?.host && first.port === at.port
        if (state === undefined || !(recorded || reach.wayOf(leg) === life)) continue
        await reach.seek(call, leg, { ...legSnapshot(leg, state), anchored: false })
      }
    }
  }

  async function take(question: unknown): Promise<boolean> {
    if (typeof question !== 'string') throw new Refusal('bad-request')
    return (await takeover?.take(question)) ?? false
  }

  async function giveAway(call: Call): Promise<boolean> {
    const to = heirOf(members)
    const dialog = await keeping.flush(call)
    if (to === undefined || dialog === undefined || call.ended) return false
    if (!(await replication.release('call', call.id))) return false
    let taken: unknown = false
    try {
      taken = await bus.ask(to, verb, dialog, takeMs)
    } catch (error) {
      if (!(error instanceof Refusal)) throw error
      call.log.warn({ to, why: error.message }, 'the other node does not take a call')
    }
    // Nobody has it: it is ours again.
    if (taken !== true && (await takeover?.takeBack(dialog))) return false
    call.lose()
    return true
  }

  return {
    keeping,
    start(context, calls) {
      takeover = createTakeover({
        ...others,
        ...{ context, calls, log, life: members.life },
        pass: createPass(members),
        aim: seek.aim,
        bring: reach.bring,
      })
      ends.push(
        takeover.close,
        members.onDeath(dead => {
          void adopt(dead)
          seekLost(dead, calls).catch((error: unknown) =>
            log.error({ err: error }, 'phones of a dead node were not looked for'),
          )
        }),
        bus.answer(verb, take),
        replication.onLost((kind, id) => {
          if (kind === 'call') calls.get(id)?.lose()
        }),
      )
    },
    onStray: async (req, res) => takeover?.onStray(req, res),
    locate: async replaces => takeover?.locate(replaces),
    forget: reach.forget,
    giveAway,
    close() {
      for (const end of ends) end()
    },
  }
}

/** Waits until there is nothing left, or the time is up. */
export async function waitFor(isDone: () => boolean, limitMs: number): Promise<void> {
  const late = performance.now() + limitMs
  while (!isDone() && performance.now() < late) await wait(50)
}

/** Waits for `work`, but not longer than that. */
export async function atMost(ms: number, work: Promise<unknown>): Promise<void> {
  const control = new AbortController()
  const late = wait(ms, undefined, { signal: control.signal }).catch(() => undefined)
  await Promise.race([work, late])
  control.abort()
}
