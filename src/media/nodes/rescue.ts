import { setTimeout as sleep } from 'node:timers/promises'
import { Refusal } from '../../errors.ts'
import type { Events } from '../../events.ts'
import type { Logger } from '../../log.ts'
import type { Carried, Hall, Next } from './carried.ts'
import type { Host, Hosts } from './hosts.ts'
import type { Moves } from './moves.ts'

export interface RescueDeps {
  hosts: Hosts
  moves: Moves
  legs: ReadonlyMap<string, Carried>
  halls: ReadonlyMap<string, Hall>
  /** How long a leg may wait for a node that can take it. */
  patienceMs: number
  /** No node can carry it. */
  onHopeless(leg: Carried, why: string): void
  events: Events
  log: Logger
}

export interface Rescue {
  /** All that was on the host is made anew elsewhere. */
  lost(host: Host, why: string): void
  /** A host that lives cannot carry this leg any more. */
  cannotStay(leg: Carried, why: string): void
  /** Within a turn of the leg: its party's answer to the offer of the new place. */
  followed(leg: Carried, next: Next, sdp: string): Promise<void>
  /** The owner is asked for an offer once more. */
  remind(leg: Carried): void
  /** Looks for what has to move: from hosts that drain, and who did not follow. */
  tend(): void
  /** From now on that is done each second, as long as there are legs. */
  watch(): void
  close(): void
}

const tendMs = 1000
const againMs = 200

/** What is done when a host dies, drains, or cannot go on. */
export function createRescue(deps: RescueDeps): Rescue {
  const { hosts, moves, legs, halls, events, log } = deps
  let timer: NodeJS.Timeout | undefined

  function lost(host: Host, why: string): void {
    const since = performance.now()
    const stranded = [...legs.values()].filter(leg => leg.at.host === host || leg.next?.host === host)
    events.emit('mediaNodeLost', { node: host.node, legs: stranded.length, why })
    for (const hall of halls.values()) {
      hall.sides = hall.sides.filter(side => side.host !== host)
      if (hall.sides.length === 0) for (const loop of hall.loops) loop.pause()
      for (const side of hall.sides) side.link = undefined
      // What is recorded or played goes on although nobody is in at this moment.
      if (hall.sides.length > 0) moves.tidy(hall)
    }
    for (const leg of stranded) {
      if (leg.at.host !== host) moves.undo(leg)
      else void leg.inTurn(() => makeAnew(leg, why, since))
    }
  }

  /** A node that could take it may come in a moment: the party hears nothing until then, and is not hung up on. */
  async function makeAnew(leg: Carried, why: string, since: number): Promise<void> {
    for (;;) {
      if (leg.released || !leg.at.host.gone) return
      try {
        return await tryAnew(leg, since)
      } catch (error) {
        if (leg.released) return
        const refused = error instanceof Refusal
        if (!refused || performance.now() - since > deps.patienceMs) {
          log.error({ err: error, leg: leg.id, why }, 'a leg cannot be made anew')
          return deps.onHopeless(leg, `${why}, and ${refused ? error.message : 'nothing takes its place'}`)
        }
      }
      await sleep(againMs)
    }
  }

  async function tryAnew(leg: Carried, since: number): Promise<void> {
    // On its way elsewhere already: now it must follow.
    if (leg.next !== undefined && !leg.next.host.gone) {
      clearTimeout(leg.next.timer)
      Object.assign(leg.next, { why: 'lost' as const })
      return remind(leg)
    }
    await moves.renew(leg, 'lost', moves.hostsFor(leg, leg.hall, []), since)
  }

  function cannotStay(leg: Carried, why: string): void {
    const [best] = moves.hostsFor(leg, leg.hall, [leg.at.host.node])
    if (best === undefined) return deps.onHopeless(leg, why)
    const since = performance.now()
    const failed = (error: unknown) => {
      log.error({ err: error, leg: leg.id, why }, 'a leg cannot be made anew')
      deps.onHopeless(leg, why)
    }
    if (leg.hall === undefined) void leg.inTurn(() => moves.renew(leg, 'lost', [best], since)).catch(failed)
    else void moves.moveHall(leg.hall, best).catch(failed)
  }

  async function followed(leg: Carried, next: Next, sdp: string): Promise<void> {
    try {
      await next.host.media.answer(next.leg, sdp)
    } catch (error) {
      if (leg.at.host.gone || next.why === 'lost') throw error
      // It has agreed to something that we cannot do after all, and is told so by another offer.
      log.warn({ err: error, leg: leg.id }, 'a leg stays where it is')
      moves.undo(leg)
      setImmediate(() => !leg.released && leg.wish.onEvent?.({ type: 'more' }))
      return
    }
    leg.heard = sdp
    leg.streams = next.host.media.streams(next.leg)
    moves.settle(leg, true)
  }

  function remind(leg: Carried): void {
    if (leg.released || leg.next === undefined) return
    leg.wish.onEvent?.({ type: leg.next.why === 'moved' ? 'more' : 'rebuilt' })
  }

  function tend(): void {
    for (const hall of halls.values()) tendHall(hall)
    for (const leg of legs.values()) {
      if (leg.hall === undefined && leg.next === undefined && hosts.stateOf(leg.at.host) === 'draining') tendLeg(leg)
    }
  }

  function tendHall(hall: Hall): void {
    const [side] = hall.sides
    const [leg] = hall.legs
    if (side === undefined || leg === undefined || hall.moving || performance.now() < hall.againAt) return
    // Our own calls go to another node when this one drains, and their media with them.
    const drains = !side.host.own && hosts.stateOf(side.host) === 'draining'
    const [best] = drains ? moves.hostsFor(leg, hall, [side.host.node]) : []
    const astray = [...hall.legs].some(({ at, next }) => next === undefined && at.host !== side.host)
    const to = best ?? (astray ? side.host : undefined)
    if (to !== undefined) move(hall.id, moves.moveHall(hall, to))
  }

  function tendLeg(leg: Carried): void {
    if (leg.at.host.own) return
    const [best] = moves.hostsFor(leg, undefined, [leg.at.host.node])
    if (best !== undefined) move(leg.id, moves.moveLeg(leg, best))
  }

  function move(what: string, moving: Promise<void>): void {
    moving.catch((error: unknown) => log.warn({ err: error, what }, 'cannot move away from a node that drains'))
  }

  function watch(): void {
    if (timer !== undefined) return
    timer = setInterval(() => {
      if (legs.size > 0) return tend()
      clearInterval(timer)
      timer = undefined
    }, tendMs)
    timer.unref()
  }

  return { lost, cannotStay, followed, remind, tend, watch, close: () => clearInterval(timer) }
}
