import { setTimeout as wait } from 'node:timers/promises'
import { dialogName, type Replication, type Taken } from '../cluster/replication.ts'
import { Refusal } from '../errors.ts'
import type { Logger } from '../log.ts'
import type { DialogState, EngineDialogs } from '../sip/dialogs.ts'
import { Call } from './call.ts'
import type { CallContext } from './context.ts'
import { tagOf } from './headers.ts'
import type { Leg } from './leg.ts'
import type { Located } from './refer.ts'
import { type Incoming, type Reply, reply } from './sip.ts'
import { type CallSnapshot, decodeSnapshot, type LegSnapshot } from './snapshot.ts'
import type { Replaces } from './transfer.ts'

// Calls of other nodes come here when a request for one of their dialogs arrives, when their node dies, or when it gives
// them away. Each is ours first in the replication, and only then in the engine.

export interface TakeoverDeps {
  replication: Replication
  dialogs: EngineDialogs
  context: CallContext<Call>
  /** The calls of this node, by id. */
  calls: Map<string, Call>
  /** This life of this node. */
  life: string
  /** How long a request waits for the death of the node that owns its call to be known. */
  patienceMs?: number | undefined
  /** Hands a request to the living node that owns its dialog; false when that cannot be done. */
  pass(owner: string, req: Incoming): Promise<boolean>
  meetings?: MeetingsHere | undefined
  /** A dialog as it is to be installed: with the way to its phone where one is known. */
  aim(leg: LegSnapshot): Promise<[dialog: DialogState, proxy?: string]>
  /** Seeks the ways to both phones of a call that came here; resolves when both were tried. */
  bring(call: Call, snapshot: CallSnapshot): Promise<void>
  log: Logger
}

export interface Takeover {
  /** Answers a request for a dialog that this node does not know: carried on with, or 481, or 503 while somebody else owns it. */
  onStray(req: Incoming, res: Reply): Promise<void>
  /** The call that a Replaces header means, when it is another node's and that is dead. */
  locate(replaces: Replaces): Promise<Located | undefined>
  /** All calls of a dead life; how many. */
  adopt(life: string): Promise<number>
  /** The call with this dialog, which its node has given up; resolves when its phones were sought. */
  take(dialog: string): Promise<boolean>
  /** Makes a call of ours that we have given up ours again, unless somebody has it. */
  takeBack(dialog: string): Promise<boolean>
  close(): void
}

/** Meetings, which other nodes' dialogs may belong to as well. */
export interface MeetingsHere {
  /** Goes on with the meeting of which this is a part; undefined when it cannot be read. */
  take(taken: Taken): Promise<Home | undefined>
  /** The one of ours with that dialog, when those that are just coming here have come. */
  find(replaces: Replaces): Promise<Home | undefined>
}

/** What has dialogs: a call, or a meeting. */
export interface Home {
  locate(replaces: Replaces): { leg?: Leg } | undefined
  isOurs(): boolean
}

/** What has the dialog here, or the life that owns it. */
type Found = Home | { owner: string } | undefined

// The sender of a request waits for 32 seconds (timer F of RFC 3261).
const defaultPatienceMs = 6000
const lookMs = 150
// So many calls are installed at once.
const width = 64

export function createTakeover(deps: TakeoverDeps): Takeover {
  const { replication, dialogs, context, calls, life, log, patienceMs = defaultPatienceMs } = deps
  const looking = new Map<string, Promise<Found>>()
  const restoring = new Map<string, Promise<Call | undefined>>()
  let closed = false

  function restore(taken: Taken, brought?: (done: Promise<void>) => void): Promise<Call | undefined> {
    const { id } = taken
    const under = restoring.get(id)
    if (under !== undefined) return under
    const made = install(taken, brought).finally(() => restoring.delete(id))
    restoring.set(id, made)
    return made
  }

  async function install(taken: Taken, brought?: (done: Promise<void>) => void): Promise<Call | undefined> {
    const snapshot = decodeSnapshot(taken.snapshot)
    if (snapshot === undefined || closed) {
      if (!closed) log.error({ call: taken.id, from: taken.from }, 'the state of a call cannot be read; it is lost')
      return undefined
    }
    await Promise.all(snapshot.legs.map(async leg => dialogs.install(...(await deps.aim(leg)))))
    const call = Call.restore(context, snapshot)
    calls.set(call.id, call)
    context.events.emit('callTaken', { id: call.id, from: call.from, to: call.to, node: taken.from })
    call.log.info({ node: taken.from, fence: taken.fence }, 'call taken over')
    const done = deps.bring(call, snapshot)
    if (brought) brought(done)
    return call
  }

  function here(replaces: Replaces): { call: Call; leg: Leg } | undefined {
    for (const call of calls.values()) {
      const leg = call.locate(replaces)?.leg
      if (leg !== undefined) return { call, leg }
    }
    return undefined
  }

  /** The call with this dialog, ours; or who owns it. */
  async function seek(dialog: string): Promise<Found> {
    const taken = await replication.takeOver(dialog)
    if (taken === undefined) return undefined
    if ('snapshot' in taken) {
      return taken.kind === 'call' ? restore(taken) : deps.meetings?.take(taken)
    }
    if (taken.owner !== life) return taken
    await Promise.allSettled(restoring.values())
    const [callId = '', toTag = '', fromTag = ''] = dialog.split(';')
    const replaces = { callId, toTag, fromTag, earlyOnly: false }
    return here(replaces)?.call ?? deps.meetings?.find(replaces)
  }

  /** The same once for all who ask at the same time. */
  function look(dialog: string): Promise<Found> {
    const under = looking.get(dialog)
    if (under !== undefined) return under
    const found = seek(dialog).finally(() => looking.delete(dialog))
    looking.set(dialog, found)
    return found
  }

  /** The call with this dialog when its owner has died, also when it is only just dying. Throws Refusal 503: it lives. */
  async function dead(dialog: string, found: Found): Promise<Home | undefined> {
    const late = performance.now() + patienceMs
    for (let next = found; ; next = await look(dialog)) {
      if (next === undefined || !('owner' in next)) return next
      if (performance.now() > late || closed) throw elsewhere(next.owner)
      await wait(lookMs, undefined, { ref: false })
    }
  }

  async function onStray(req: Incoming, res: Reply): Promise<void> {
    const { method } = req
    // An ACK for the answer of a node that is gone needs nothing, nor does what an engine says of a dialog that we let go.
    if (method === 'ACK' || req.source === 'application') return
    const [callId, toTag, fromTag] = [req.get('Call-ID') ?? '', tagOf(req.get('To')), tagOf(req.get('From'))]
    const dialog = dialogName(callId, toTag, fromTag)
    const found = await look(dialog)
    if (found !== undefined && 'owner' in found && (await deps.pass(found.owner, req))) return
    const home = await dead(dialog, found)
    const leg = home?.locate({ callId, toTag, fromTag, earlyOnly: false })?.leg
    if (leg === undefined) return reply(res, 481)
    if (!home?.isOurs()) throw elsewhere('another node')
    leg.handle(req, res)
  }

  async function locate(replaces: Replaces): Promise<Located | undefined> {
    const { callId, toTag, fromTag } = replaces
    // Some phones swap the tags.
    for (const name of [dialogName(callId, toTag, fromTag), dialogName(callId, fromTag, toTag)]) {
      const call = await dead(name, await look(name))
      const found = call instanceof Call ? call.locate(replaces) : undefined
      if (call instanceof Call && found !== undefined) return { call, ...found }
    }
    return undefined
  }

  async function adopt(dead: string): Promise<number> {
    const began = performance.now()
    const under = new Set<Promise<unknown>>()
    let count = 0
    for await (const taken of replication.adopt(dead, 'call')) {
      if (under.size >= width) await Promise.race(under)
      count++
      const one = restore(taken)
        .catch((error: unknown) => log.error({ err: error, call: taken.id }, 'a call could not be taken over'))
        .finally(() => under.delete(one))
      under.add(one)
    }
    await Promise.all(under)
    if (count > 0) log.warn({ node: dead, calls: count, ms: Math.round(performance.now() - began) }, 'calls taken over')
    return count
  }

  return {
    onStray,
    locate,
    adopt,
    async take(dialog) {
      const taken = await replication.takeOver(dialog)
      if (taken === undefined || !('snapshot' in taken)) return false
      let brought: Promise<void> | undefined
      const call = await restore(taken, done => {
        brought = done
      })
      await brought
      return call !== undefined
    },
    async takeBack(dialog) {
      const taken = await replication.takeOver(dialog)
      return taken !== undefined && ('snapshot' in taken || taken.owner === life)
    },
    close() {
      closed = true
    },
  }
}

function elsewhere(owner: string): Refusal {
  return new Refusal('node-unavailable', `the call belongs to ${owner}`, { headers: { 'Retry-After': '2' } })
}
