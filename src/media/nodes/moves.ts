import { Refusal } from '../../errors.ts'
import type { Events } from '../../events.ts'
import type { Logger } from '../../log.ts'
import type { LegEvent, LegWish } from '../media.ts'
import { type Carried, type Hall, type Next, type Side, type Spot, wishAgain } from './carried.ts'
import type { Host, Hosts } from './hosts.ts'
import { linkSides, unlink } from './link.ts'

export interface MovesDeps {
  hosts: Hosts
  /** The legs with a word of `near`, which are to be together. */
  together(near: string | undefined): Host | undefined
  /** What a host tells of a leg. */
  heard(leg: Carried, spot: Spot, event: LegEvent): void
  /** This is where a leg is from now on, and is so no more. */
  know(spot: Spot, leg: Carried): void
  forget(spot: Spot): void
  onSpeaker(hall: Hall, leg: string | undefined): void
  events: Events
  log: Logger
}

export interface Moves {
  /** Makes it on the first of the hosts that can. */
  make(hosts: readonly Host[], wish: LegWish, spot: (host: Host) => Spot): Promise<{ spot: Spot; sdp: string }>
  /** What is told there is told of this leg; what was told before it was known comes now. */
  know(spot: Spot, leg: Carried): void
  /** Ends it there, without waiting. */
  release(spot: Spot): void
  /** The hosts that may take a leg, best first. */
  hostsFor(leg: Pick<Carried, 'wish'>, hall: Hall | undefined, without: readonly string[]): Host[]
  /** The side that newcomers join; opened at `hint`, or where it is best, when there is none. */
  sideOf(hall: Hall, hint?: Host): Promise<Side>
  /** Within a turn of the leg: makes it on a host of the hall, or on the best one, and asks its owner to offer. */
  renew(leg: Carried, why: Next['why'], to: readonly Host[], since: number): Promise<void>
  /** Its party is where it was asked to go. */
  settle(leg: Carried, asked: boolean): void
  /** It stays where it is. */
  undo(leg: Carried): void
  /** The party has left this place. */
  dropSpare(leg: Carried): void
  /** Moves all in the room, and the room, to another host. */
  moveHall(hall: Hall, to: Host): Promise<void>
  /** Moves a leg that is in no room. */
  moveLeg(leg: Carried, to: Host, since?: number): Promise<void>
  /** Takes away the sides that nobody is at any more. */
  tidy(hall: Hall): void
}

// A party that was asked to move and has not in this time stays where it is.
const followMs = 10_000
// The new way carries within this time, or never.
const spareMs = 3000
const againMs = 10_000
const elsewhere = new Set(['media-unavailable', 'too-busy', 'node-unavailable'])

/** How legs and rooms come from one host to another: new ones first, and the old ones go when they have followed. */
export function createMoves(deps: MovesDeps): Moves {
  const { hosts, events, log } = deps

  function quietly(what: string, work: Promise<unknown>): void {
    work.catch((error: unknown) => log.debug({ err: error, what }, 'an end on a media node was not told'))
  }

  function release(spot: Spot): void {
    deps.forget(spot)
    if (!spot.host.gone) quietly('release', spot.host.media.release(spot.leg))
  }

  const make: Moves['make'] = async (all, wish, spotAt) => {
    let failure: unknown = new Refusal('media-unavailable', 'no media node is there')
    for (const host of all) {
      const spot = spotAt(host)
      try {
        const { leg, sdp } = await host.media.allocate({ ...wish, onEvent: event => tell(spot, event) })
        spot.leg = leg
        events.emit('mediaPlaced', { node: host.node, result: 'done' })
        return { spot, sdp }
      } catch (error) {
        events.emit('mediaPlaced', { node: host.node, result: 'refused' })
        failure = error
        if (!(error instanceof Refusal && elsewhere.has(error.code))) throw error
        log.warn({ media: host.node, why: error.message }, 'a node cannot carry a leg')
      }
    }
    throw failure
  }

  const owners = new WeakMap<Spot, Carried>()
  const early = new WeakMap<Spot, LegEvent[]>()

  /** What is told of a leg that is still being made waits. */
  function tell(spot: Spot, event: LegEvent): void {
    const leg = owners.get(spot)
    if (leg !== undefined) return deps.heard(leg, spot, event)
    const waiting = early.get(spot) ?? []
    if (waiting.length < 32) waiting.push(event)
    early.set(spot, waiting)
  }

  function know(spot: Spot, leg: Carried): void {
    owners.set(spot, leg)
    deps.know(spot, leg)
    const waiting = early.get(spot) ?? []
    early.delete(spot)
    for (const event of waiting) deps.heard(leg, spot, event)
  }

  function hostsFor({ wish }: Pick<Carried, 'wish'>, hall: Hall | undefined, without: readonly string[]): Host[] {
    const browser = wish.profile === 'webrtc' || [...(hall?.legs ?? [])].some(one => one.wish.profile === 'webrtc')
    const together = deps.together(wish.near)?.node
    return hosts.choose({ browser, towards: wish.towards, together, without })
  }

  async function openSide(hall: Hall, host: Host): Promise<Side> {
    const { wish } = hall
    // Whether it ends with its last leg is seen here, since legs that move leave it too.
    const room = await host.media.open({ ...wish, transient: false, onSpeaker: leg => deps.onSpeaker(hall, leg) })
    return { host, room, link: undefined }
  }

  function sideOf(hall: Hall, hint?: Host): Promise<Side> {
    const [side] = hall.sides
    if (side !== undefined && !side.host.gone) return Promise.resolve(side)
    hall.placing ??= place(hall, hint).finally(() => {
      hall.placing = undefined
    })
    return hall.placing
  }

  async function place(hall: Hall, hint: Host | undefined): Promise<Side> {
    const [leg] = hall.legs
    const wish: LegWish = leg?.wish ?? { profile: 'plain', towards: '' }
    const all = hint !== undefined && !hint.gone ? [hint] : hostsFor({ wish }, hall, [])
    let failure: unknown = new Refusal('media-unavailable', 'no media node is there')
    for (const host of all) {
      try {
        const side = await openSide(hall, host)
        hall.sides = [side]
        void atNewSide(hall, side)
        return side
      } catch (error) {
        failure = error
        if (!(error instanceof Refusal && elsewhere.has(error.code))) throw error
      }
    }
    throw failure
  }

  /** What is played and recorded goes on there. */
  async function atNewSide(hall: Hall, side: Side): Promise<void> {
    for (const loop of hall.loops) loop.go(side.host, { room: side.room })
    const failed = (error: unknown) => log.error({ err: error, room: hall.id }, 'a recording does not go on')
    await Promise.all([...hall.tapes].map(tape => tape.go(side).catch(failed)))
  }

  async function renew(leg: Carried, why: Next['why'], to: readonly Host[], since: number): Promise<void> {
    const { hall } = leg
    const side = hall === undefined ? undefined : await sideOf(hall, to[0])
    const { spot } = await make(side === undefined ? to : [side.host], wishAgain(leg), host => ({ host, leg: '' }))
    const next: Next = Object.assign(spot, { why, since, offered: false, timer: undefined })
    know(next, leg)
    try {
      if (side !== undefined && leg.hall === hall) await side.host.media.join(next.leg, side.room, leg.as)
    } catch (error) {
      release(next)
      throw error
    }
    if (leg.released) return release(next)
    if (leg.next !== undefined) undo(leg)
    leg.next = next
    if (why === 'moved') {
      next.timer = setTimeout(() => leg.next === next && undo(leg), followMs)
      next.timer.unref()
    }
    askFor(leg, next)
  }

  /** Who is to move may fail to, and all goes on; who was cut off is lost with its call when it does not follow. */
  function askFor(leg: Carried, { why }: Next): void {
    leg.wish.onEvent?.({ type: why === 'moved' ? 'more' : 'rebuilt' })
  }

  function settle(leg: Carried, asked: boolean): void {
    const { next, at: old } = leg
    if (next === undefined) return
    clearTimeout(next.timer)
    leg.next = undefined
    leg.at = next
    const ms = performance.now() - next.since
    events.emit('mediaMoved', { from: old.host.node, to: next.host.node, why: next.why, ms, undone: false })
    log.info({ leg: leg.id, from: old.host.node, to: next.host.node, why: next.why, ms: Math.round(ms) }, 'leg moved')
    if (old.host.gone) deps.forget(old)
    else leaveBehind(leg, old)
    for (const loop of leg.loops) loop.go(next.host, { leg: next.leg })
    if (leg.hall !== undefined) tidy(leg.hall)
    // A browser is told where we are when it knows who we are, and not before its owner knows of the answer.
    if (asked && leg.wish.profile === 'webrtc') setImmediate(() => !leg.released && askFor(leg, next))
  }

  function leaveBehind(leg: Carried, spot: Spot): void {
    dropSpare(leg)
    // A phone sends to the new port from now on, and must not be sent twice; a browser is there when ICE has found the way.
    if (leg.wish.profile === 'plain') quietly('leave', spot.host.media.leave(spot.leg))
    const timer = setTimeout(() => dropSpare(leg), spareMs)
    timer.unref()
    leg.spare = { spot, timer }
  }

  function dropSpare(leg: Carried): void {
    const { spare } = leg
    if (spare === undefined) return
    leg.spare = undefined
    clearTimeout(spare.timer)
    release(spare.spot)
    if (leg.hall !== undefined) tidy(leg.hall)
  }

  function undo(leg: Carried): void {
    const { next, at } = leg
    if (next === undefined) return
    clearTimeout(next.timer)
    leg.next = undefined
    release(next)
    const ms = performance.now() - next.since
    events.emit('mediaMoved', { from: at.host.node, to: next.host.node, why: next.why, ms, undone: true })
    log.warn({ leg: leg.id, media: next.host.node, stays: at.host.node }, 'a leg did not move')
    if (leg.hall !== undefined) {
      leg.hall.againAt = performance.now() + againMs
      tidy(leg.hall)
    }
  }

  function moveLeg(leg: Carried, to: Host, since = performance.now()): Promise<void> {
    return leg.inTurn(async () => {
      if (leg.released || leg.next !== undefined || leg.at.host === to || leg.at.host.gone) return
      // Who is still being rung has no dialog yet to be asked in.
      if (leg.heard === '') return
      await renew(leg, 'moved', [to], since)
    })
  }

  async function moveHall(hall: Hall, to: Host): Promise<void> {
    if (hall.moving || hall.placing !== undefined) return
    hall.moving = true
    const since = performance.now()
    try {
      const [from] = hall.sides
      if (from !== undefined && from.host !== to) {
        const side = await openSide(hall, to)
        if (hall.wish.kind === 'meeting' && !from.host.gone) {
          side.link = await linkSides(hosts, from, side).catch((error: unknown) => {
            log.warn({ err: error, room: hall.id }, 'a meeting moves without a link between its two places')
            return undefined
          })
        }
        hall.sides.unshift(side)
        log.info({ room: hall.id, from: from.host.node, to: to.node, legs: hall.legs.size }, 'a room moves')
      }
      const failed = (leg: Carried) => (error: unknown) => log.warn({ err: error, leg: leg.id }, 'a leg cannot move')
      await Promise.all([...hall.legs].map(leg => moveLeg(leg, to, since).catch(failed(leg))))
    } finally {
      hall.moving = false
      hall.againAt = performance.now() + againMs
      tidy(hall)
    }
  }

  function tidy(hall: Hall): void {
    const [newest] = hall.sides
    if (hall.moving || newest === undefined || hall.sides.length < 2) return
    const legs = [...hall.legs]
    const left = hall.sides.slice(1).filter(({ host }) => !host.gone && legs.some(leg => isOn(leg, host)))
    if (left.length > 0) {
      // Nobody has followed: the room stays where it was.
      if (legs.some(({ at, next }) => at.host === newest.host || next?.host === newest.host)) return
      hall.sides = hall.sides.slice(1)
      return closeSide(newest)
    }
    const old = hall.sides.slice(1)
    hall.sides = [newest]
    unlink(newest, release)
    // What was recorded there is fetched before the room is shut.
    void atNewSide(hall, newest).then(() => old.forEach(closeSide))
  }

  /** A browser that has followed is heard where it was until its new way carries. */
  const isOn = ({ at, spare, wish }: Carried, host: Host) =>
    at.host === host || (wish.profile === 'webrtc' && spare?.spot.host === host)

  function closeSide(side: Side): void {
    unlink(side, release)
    if (!side.host.gone) quietly('shut', side.host.media.shut(side.room))
  }

  return { make, know, release, hostsFor, sideOf, renew, settle, undo, dropSpare, moveHall, moveLeg, tidy }
}
