import { dialogName, type Kept, type Replication } from '../cluster/replication.ts'
import type { Logger } from '../log.ts'
import type { DialogState, EngineDialogs } from '../sip/dialogs.ts'
import type { Call } from './call.ts'
import type { Keeping } from './context.ts'
import { calleeState, callerState } from './dialog-states.ts'
import type { Leg } from './leg.ts'
import { encodeSnapshot, type LegSnapshot } from './snapshot.ts'

/** Nothing is kept: one node by itself. */
export const keepsNothing: Keeper = {
  waits: false,
  first: async () => undefined,
  answered: () => undefined,
  touch: () => undefined,
  end: async () => true,
  owns: () => true,
  forget: () => undefined,
  flush: async () => undefined,
}

export interface KeeperDeps {
  replication: Replication
  dialogs: EngineDialogs
  log: Logger
}

export interface Keeper extends Keeping<Call> {
  /** Keeps it as it is now; resolves with the name of one of its dialogs when others can find it. Never rejects. */
  flush(call: Call): Promise<string | undefined>
}

/** Keeps answered calls through the replication: what has changed in one turn of the event loop goes in one piece. */
export function createKeeping({ replication, dialogs, log }: KeeperDeps): Keeper {
  const changed = new Set<Call>()
  const saving = new Map<Call, Promise<unknown>>()
  const waits = replication.strategy === 'hot-standby'

  async function save(
    call: Call,
    legs: readonly [LegSnapshot, LegSnapshot],
    must: boolean,
  ): Promise<string | undefined> {
    const snapshot = encodeSnapshot(call.snapshot(legs))
    if (snapshot === undefined) {
      call.log.warn('the call is too long to be kept for other nodes')
      return undefined
    }
    call.kept = true
    const kept: Kept = { kind: 'call', id: call.id, dialogs: legs.map(({ dialog }) => nameOf(dialog)), snapshot }
    await replication.save(kept, { must })
    return kept.dialogs[0]
  }

  async function keepNow(call: Call, must: boolean): Promise<string | undefined> {
    const [one, other] = call.legs
    if (one === undefined || other === undefined) return undefined
    try {
      const states = await Promise.all([dialogs.read(one.id), dialogs.read(other.id)])
      const same = call.legs[0] === one && call.legs[1] === other
      // A transfer in between has marked it as changed again.
      if (call.ended || !same || states[0] === undefined || states[1] === undefined) return undefined
      return await save(call, [legSnapshot(one, states[0]), legSnapshot(other, states[1])], must)
    } catch (error) {
      call.log.error({ err: error }, 'the call could not be kept for other nodes')
      return undefined
    }
  }

  /** One after the other for each call. */
  function keep(call: Call, must = false): Promise<string | undefined> {
    const next = (saving.get(call) ?? Promise.resolve()).then(() => keepNow(call, must))
    saving.set(call, next)
    return next.finally(() => {
      if (saving.get(call) === next) saving.delete(call)
    })
  }

  function keepChanged(): void {
    const calls = [...changed]
    changed.clear()
    for (const call of calls) if (!call.ended) void keep(call)
  }

  function touch(call: Call): void {
    if (changed.size === 0) setImmediate(keepChanged)
    changed.add(call)
  }

  return {
    waits,
    async first(call, answering) {
      const { caller, callee } = answering
      try {
        const { made } = answering
        const state = made ? calleeState(callee.id, made.sent, made.response) : await dialogs.read(callee.id)
        if (state === undefined || call.ended) return
        await save(call, [legSnapshot(caller, callerState(answering)), legSnapshot(callee, state)], true)
      } catch (error) {
        log.error({ err: error, call: call.id }, 'the call could not be kept for other nodes')
      }
    },
    answered(call) {
      if (call.kept || replication.strategy === 'none') return
      call.kept = true
      touch(call)
    },
    touch,
    async end(call) {
      changed.delete(call)
      await saving.get(call)
      return replication.end('call', call.id)
    },
    owns: id => replication.owns('call', id),
    forget(id) {
      dialogs.forget(id).catch((error: unknown) => log.error({ err: error }, 'a dialog could not be forgotten'))
    },
    flush: call => keep(call, true),
  }
}

/** How the replication names a dialog. */
export function nameOf({ callId, localTag, remoteTag }: DialogState): string {
  return dialogName(callId, localTag, remoteTag)
}

/** What another node needs to know of a leg. */
export function legSnapshot(leg: Leg, dialog: DialogState): LegSnapshot {
  const { party, device, end, allow, localSdp, remoteSdp } = leg
  const { profile, address } = end
  return {
    ...{ party, device, profile, address, anchored: leg.unplaced || end.leg !== undefined },
    ...{ allow, localSdp, remoteSdp, dialog },
    ...(leg.knowsReplaces ? { knowsReplaces: true } : {}),
    ...(leg.isWebPhone ? { isWebPhone: true } : {}),
  }
}
