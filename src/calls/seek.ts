import { Refusal } from '../errors.ts'
import type { Events } from '../events.ts'
import type { Binding } from '../location/store.ts'
import type { Logger } from '../log.ts'
import type { DialogState, EngineDialogs } from '../sip/dialogs.ts'
import type { OnBindings } from './comeback.ts'
import type { Leg } from './leg.ts'
import type { Whereabouts } from './route.ts'
import type { LegSnapshot } from './snapshot.ts'
import { findWay, type Way } from './ways.ts'

// Phones whose dialogs came here from another node are told so as soon as there is a way to them: at once where one is
// known, else when they register.

export interface SeekDeps {
  dialogs: EngineDialogs
  bindings(aor: string): Promise<readonly Binding[]> | readonly Binding[]
  where: Whereabouts
  domain: string
  events: Events
  /** Also of bindings that other nodes change; without it only registrations here are heard of. */
  onBindings?: OnBindings | undefined
}

/** A phone that is looked for. */
export interface Wanted {
  leg: Leg
  was: Pick<LegSnapshot, 'dialog' | 'device'>
  log: Logger
  /** How long it is waited for. */
  seconds: number
  /** Its call or meeting is over, or it has come back by itself. */
  ended(): boolean
  /** Tells it over its new way where it is now; the final status. Rejects with a Refusal: it is tried again. */
  ask(state: DialogState, way: Way): Promise<number>
  /** It knows its dialog no more (`the connection …`), or did not come back. */
  lost(why: string): void
}

export interface Seek {
  /** Looks for a phone; resolves when it was asked, or there is no way to it yet. Never rejects. */
  seek(wanted: Wanted): Promise<void>
  /** The dialog with the way to its phone, where one is known for sure: what the other phone wants may come before we ask. */
  aim(was: LegSnapshot): Promise<[dialog: DialogState, proxy?: string]>
  /** Waits no longer for a phone. */
  forget(leg: Leg): void
  close(): void
}

interface Sought extends Wanted {
  trying: boolean
  /** The phone has registered meanwhile. */
  again: boolean
  timer: NodeJS.Timeout
}

// So many phones are asked at once; the others wait for their turn.
const width = 100

export function createSeek(deps: SeekDeps): Seek {
  const { dialogs, bindings, where, domain, events } = deps
  const sought = new Map<string, Set<Sought>>()
  const queue: (() => void)[] = []
  let asking = 0

  const lookFor = (aor: string) => {
    for (const one of sought.get(aor) ?? []) void look(one)
  }
  const stop = deps.onBindings?.(lookFor) ?? events.on('registered', ({ aor }) => lookFor(aor))

  const aorOf = (leg: Leg) => `sip:${leg.party.user}@${domain}`

  async function inTurn<T>(work: () => Promise<T>): Promise<T> {
    if (asking >= width) await new Promise<void>(resolve => queue.push(resolve))
    asking++
    try {
      return await work()
    } finally {
      asking--
      queue.shift()?.()
    }
  }

  function drop(one: Sought): void {
    clearTimeout(one.timer)
    const aor = aorOf(one.leg)
    const all = sought.get(aor)
    all?.delete(one)
    if (all?.size === 0) sought.delete(aor)
  }

  async function look(one: Sought): Promise<void> {
    const { leg, was, log } = one
    one.again = one.trying
    if (one.trying) return
    one.trying = true
    try {
      // A connection that turns out to be gone leaves the others of this device (RFC 5626 section 5.3).
      for (const failed: string[] = []; ; ) {
        const way = findWay(was.dialog, was.device, await bindings(aorOf(leg)), where, failed)
        if (one.ended() || leg.ended) return drop(one)
        if (way === undefined) return
        const came = await inTurn(() => go(one, way))
        if (came === 'reached') return drop(one)
        if (came === 'later' || way.flow === '') return
        failed.push(way.flow)
      }
    } catch (error) {
      if (!(error instanceof Refusal)) log.error({ err: error }, 'a phone that came here was not reached')
      else log.warn({ why: error.message, who: leg.party.user }, 'a phone that came here was not reached')
    } finally {
      one.trying = false
      if (one.again && sought.get(aorOf(leg))?.has(one)) void look(one)
    }
  }

  /** `reached` also when its leg is over; `lost`: not by this way. */
  async function go(one: Sought, way: Way): Promise<'reached' | 'later' | 'lost'> {
    const { leg, log } = one
    const isOver = () => leg.ended || one.ended()
    const state = await dialogs.read(leg.id)
    if (state === undefined || isOver()) return 'reached'
    if (state.target !== way.uri) await dialogs.forget(leg.id)
    await dialogs.install({ ...state, target: way.uri }, way.proxy)
    const status = await one.ask(state, way)
    if (isOver()) return 'reached'
    const gone = status === 481 || (status === 408 && way.sure)
    if (gone) {
      leg.drop()
      one.lost(`the connection of ${leg.party.user} was lost`)
      return 'reached'
    }
    const answered = status !== 408 && status !== 430 && status < 500
    log.info({ who: leg.party.user, status, sure: way.sure }, answered ? 'phone reached' : 'phone not reached yet')
    if (answered) return 'reached'
    return status === 430 || status === 503 ? 'lost' : 'later'
  }

  return {
    seek(wanted) {
      const { leg, seconds } = wanted
      const timer = setTimeout(() => {
        drop(one)
        one.lost(`${leg.party.user} did not come back`)
      }, seconds * 1000).unref()
      const one: Sought = { ...wanted, trying: false, again: false, timer }
      const aor = aorOf(leg)
      sought.set(aor, (sought.get(aor) ?? new Set()).add(one))
      return look(one)
    },
    async aim({ dialog, device, party }) {
      const known = await bindings(`sip:${party.user}@${domain}`)
      const way = findWay(dialog, device, known, where)
      if (way?.sure !== true) return [dialog]
      const aimed = { ...dialog, target: way.uri }
      return way.proxy === undefined ? [aimed] : [aimed, way.proxy]
    },
    forget(leg) {
      for (const one of sought.get(aorOf(leg)) ?? []) if (one.leg === leg) drop(one)
    },
    close() {
      stop()
      for (const all of sought.values()) for (const { timer } of all) clearTimeout(timer)
      sought.clear()
    },
  }
}
