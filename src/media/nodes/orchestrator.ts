import { randomBytes } from 'node:crypto'
import { Refusal } from '../../errors.ts'
import type { Events } from '../../events.ts'
import type { Logger } from '../../log.ts'
import type { AddressWatch } from '../../network/interfaces.ts'
import type { LegEvent, Media, MediaLoad, Membership } from '../media.ts'
import { type Carried, type Hall, newCarried, newHall, type Spot, sideOn, spotOf } from './carried.ts'
import { createHosts, type Host, type MediaMembers } from './hosts.ts'
import { createLoop, type Loop } from './loops.ts'
import { createMoves } from './moves.ts'
import { createRescue } from './rescue.ts'
import { createTape } from './tapes.ts'
import type { Asking } from './wire.ts'

export interface OrchestratorDeps {
  /** This node's own media room; undefined where it carries none. */
  local: Media | undefined
  members: MediaMembers
  bus: Asking
  addresses: Pick<AddressWatch, 'current'>
  events: Events
  log: Logger
  /** How long a leg whose node has died may wait for another node; 10 s when left out. */
  patienceMs?: number
}

export interface Orchestrator extends Media {
  /** Moves a leg to another node, or the least busy one; in a room, with all who are in it. Refuses `media-unavailable`. */
  migrate(leg: string, to?: string): Promise<void>
}

const idle: MediaLoad = {
  workers: [],
  ports: 0,
  rooms: 0,
  audioCpuSeconds: 0,
  packets: { in: 0, out: 0, dropped: 0 },
}

/**
 * Media that several nodes carry, as if it were one room: each leg is given to the best node, moves to another one when
 * that one drains, and is made anew elsewhere when it dies. Legs and rooms keep their names through all that.
 */
export function createOrchestrator(deps: OrchestratorDeps): Orchestrator {
  const { local, events, log } = deps
  const legs = new Map<string, Carried>()
  const halls = new Map<string, Hall>()
  const spots = new Map<string, Carried>()
  const near = new Map<string, Set<Carried>>()
  let closing: Promise<void> | undefined

  const hosts = createHosts({
    ...deps,
    onLost: (host, why) => rescue.lost(host, why),
    onChange: () => rescue.tend(),
  })
  const moves = createMoves({
    ...{ hosts, heard, events, log },
    know: (spot, leg) => void spots.set(spot.leg, leg),
    forget: spot => void spots.delete(spot.leg),
    together(word) {
      const group = word === undefined ? undefined : near.get(word)
      for (const leg of group ?? []) {
        const spot = spotOf(leg)
        if (spot !== undefined && !spot.host.gone) return spot.host
      }
      return undefined
    },
    onSpeaker(hall, leg) {
      const known = leg === undefined ? undefined : spots.get(leg)
      // What only links two places is nobody.
      if (leg === undefined || known !== undefined) hall.wish.onSpeaker?.(known?.id)
    },
  })
  const rescue = createRescue({
    hosts,
    moves,
    legs,
    halls,
    onHopeless,
    events,
    log,
    patienceMs: deps.patienceMs ?? 10_000,
  })

  function heard(leg: Carried, spot: Spot, event: LegEvent): void {
    if (leg.released) return
    if (event.type === 'lost' && spot === leg.next) return moves.undo(leg)
    if (spot !== leg.at) return
    if (event.type === 'lost' && event.carrier) return rescue.cannotStay(leg, event.why)
    if (event.type === 'media') moves.dropSpare(leg)
    const shows = (event.type === 'tile' || event.type === 'slot') && event.leg !== undefined
    leg.wish.onEvent?.(shows ? { ...event, leg: spots.get(event.leg!)?.id } : event)
  }

  function onHopeless(leg: Carried, why: string): void {
    leg.wish.onEvent?.({ type: 'lost', why })
  }

  function legOf(id: string): Carried {
    const leg = legs.get(id)
    if (leg === undefined) throw new Refusal('no-such-call', 'There is no such leg')
    return leg
  }

  function hallOf(id: string): Hall {
    const hall = halls.get(id)
    if (hall === undefined) throw new Refusal('not-found', 'There is no such room')
    return hall
  }

  /** Where a leg is, within its turn. */
  function here(leg: Carried): Spot {
    const spot = spotOf(leg)
    if (spot === undefined) throw new Refusal('media-unavailable', 'what carried the leg is lost')
    return spot
  }

  /** Out of the room it is in, which ends with it when that was wished. */
  async function walkOut(leg: Carried, tell: boolean): Promise<void> {
    const { hall } = leg
    if (hall === undefined) return
    leg.hall = undefined
    hall.legs.delete(leg)
    if (tell) {
      const all = [leg.at, leg.next].filter(spot => spot !== undefined && !spot.host.gone)
      await Promise.all(all.map(spot => spot?.host.media.leave(spot.leg)))
    }
    if (hall.legs.size === 0 && hall.wish.transient) await shut(hall.id)
    else moves.tidy(hall)
  }

  async function walkIn(leg: Carried, hall: Hall, as: Membership): Promise<void> {
    if (leg.hall !== hall) await walkOut(leg, false)
    leg.hall = hall
    leg.as = as
    hall.legs.add(leg)
    const spot = spotOf(leg)
    // When it is made anew it joins.
    if (spot === undefined) return
    try {
      const side = sideOn(hall, spot.host) ?? (await moves.sideOf(hall, spot.host))
      if (side.host === spot.host) {
        await side.host.media.join(spot.leg, side.room, as)
        // It may be on its way to the other place of the room.
        const { next } = leg
        const other = next === undefined || next === spot ? undefined : sideOn(hall, next.host)
        if (next && other) await other.host.media.join(next.leg, other.room, as)
        else if (next && next !== spot) moves.undo(leg)
        return
      }
      await spot.host.media.leave(spot.leg)
      await moves.renew(leg, 'moved', [side.host], performance.now())
    } catch (error) {
      if (leg.hall === hall && error instanceof Refusal && error.code !== 'media-unavailable') {
        leg.hall = undefined
        hall.legs.delete(leg)
      }
      throw error
    }
  }

  async function shut(id: string): Promise<void> {
    const hall = halls.get(id)
    if (hall === undefined) return
    halls.delete(id)
    for (const leg of hall.legs) leg.hall = undefined
    hall.legs.clear()
    await hall.placing?.catch(() => undefined)
    for (const loop of [...hall.loops]) loop.end()
    const sides = hall.sides.splice(0)
    for (const { link } of sides) {
      if (link !== undefined) for (const spot of [link.near, link.far]) moves.release(spot)
    }
    await Promise.all(sides.map(({ host, room }) => (host.gone ? undefined : host.media.shut(room))))
  }

  async function release(id: string): Promise<void> {
    const leg = legs.get(id)
    if (leg === undefined) return
    legs.delete(id)
    leg.released = true
    const { at, next, wish } = leg
    const group = wish.near === undefined ? undefined : near.get(wish.near)
    if (group?.delete(leg) && group.size === 0) near.delete(wish.near!)
    if (next !== undefined) clearTimeout(next.timer)
    for (const loop of [...leg.loops]) loop.end()
    moves.dropSpare(leg)
    for (const spot of [at, next]) if (spot !== undefined) spots.delete(spot.leg)
    await Promise.all([at, next].map(spot => (spot && !spot.host.gone ? spot.host.media.release(spot.leg) : undefined)))
    await walkOut(leg, false)
  }

  /** A prompt that is repeated goes on wherever its leg or room goes. */
  function loopOn(own: Set<Loop>, prompt: Parameters<Media['play']>[1]): Loop {
    const loop = createLoop(prompt, log, ended => own.delete(ended))
    own.add(loop)
    return loop
  }

  async function closeAll(): Promise<void> {
    rescue.close()
    await Promise.all([...legs.keys()].map(release))
    await Promise.all([...halls.keys()].map(shut))
    await hosts.close()
    await local?.close()
  }

  return {
    state: () => hosts.state(),
    async allocate(wish) {
      if (closing !== undefined) throw new Refusal('media-unavailable', 'the server is ending')
      const all = moves.hostsFor({ wish }, undefined, [])
      const { spot, sdp } = await moves.make(all, wish, host => ({ host, leg: '' }))
      const leg = newCarried(`leg-${randomBytes(6).toString('hex')}`, wish, spot)
      legs.set(leg.id, leg)
      if (wish.near !== undefined) near.set(wish.near, (near.get(wish.near) ?? new Set()).add(leg))
      moves.know(spot, leg)
      leg.streams = wish.offer === undefined ? leg.streams : spot.host.media.streams(spot.leg)
      rescue.watch()
      return { leg: leg.id, sdp }
    },
    answer(id, sdp) {
      const leg = legOf(id)
      return leg.inTurn(async () => {
        const { next, at } = leg
        if (next?.offered) return rescue.followed(leg, next, sdp)
        if (!at.host.gone) {
          await at.host.media.answer(at.leg, sdp)
          leg.streams = at.host.media.streams(at.leg)
        }
        leg.heard = sdp
        // It answers what is not there any more, or is to go elsewhere at once.
        if (next !== undefined) setImmediate(() => rescue.remind(leg))
      })
    },
    offer(id, change) {
      const leg = legOf(id)
      return leg.inTurn(async () => {
        const spot = leg.next ?? here(leg)
        const sdp = await spot.host.media.offer(spot.leg, change)
        if (leg.next === spot) leg.next.offered = true
        return sdp
      })
    },
    accept(id, offer, streams) {
      const leg = legOf(id)
      return leg.inTurn(async () => {
        // What the party wants goes before what we want of it.
        if (leg.next !== undefined && !leg.at.host.gone) moves.undo(leg)
        const spot = here(leg)
        const sdp = await spot.host.media.accept(spot.leg, offer, streams)
        leg.heard = offer
        leg.streams = spot.host.media.streams(spot.leg)
        if (spot === leg.next) moves.settle(leg, false)
        return sdp
      })
    },
    streams(id) {
      const leg = legOf(id)
      return leg.at.host.gone ? [...leg.streams] : leg.at.host.media.streams(leg.at.leg)
    },
    join(id, room, as = {}) {
      const [leg, hall] = [legOf(id), hallOf(room)]
      return leg.inTurn(() => walkIn(leg, hall, as))
    },
    leave(id) {
      const leg = legOf(id)
      return leg.inTurn(() => walkOut(leg, true))
    },
    release,
    async migrate(id, to) {
      const leg = legOf(id)
      const wanted = to === undefined ? undefined : hosts.find(to)
      const [best] = wanted === undefined ? moves.hostsFor(leg, leg.hall, [leg.at.host.node]) : [wanted]
      if (best === undefined && to !== undefined) throw new Refusal('media-unavailable', `there is no media node ${to}`)
      if (best === undefined || best === leg.at.host) return leg.at.host.media.migrate(leg.at.leg)
      if (leg.hall === undefined) await moves.moveLeg(leg, best)
      else await moves.moveHall(leg.hall, best)
    },
    load() {
      const count = new Map<Host, number>()
      for (const { at } of legs.values()) count.set(at.host, (count.get(at.host) ?? 0) + 1)
      const nodes = hosts.list().map(host => ({ node: host.node, legs: count.get(host) ?? 0, busy: hosts.busy(host) }))
      return { ...(local?.load() ?? idle), nodes }
    },
    async open(wish) {
      const hall = newHall(`room-${randomBytes(6).toString('hex')}`, wish)
      halls.set(hall.id, hall)
      return hall.id
    },
    shut,
    async play(to, prompt, options = {}) {
      if (!options.loop) {
        const [host, there] = await spotTo(to)
        return host.media.play(there, prompt)
      }
      const loop = loopOn('leg' in to ? legOf(to.leg).loops : hallOf(to.room).loops, prompt)
      loop.go(...(await spotTo(to)))
      return loop.handle
    },
    async record(id, files) {
      const hall = hallOf(id)
      const side = await moves.sideOf(hall)
      const tape = createTape(files, log, ended => hall.tapes.delete(ended))
      await tape.go(side)
      hall.tapes.add(tape)
      return tape.stop
    },
    close() {
      closing ??= closeAll()
      return closing
    },
  }

  async function spotTo(to: { leg: string } | { room: string }): Promise<[Host, { leg: string } | { room: string }]> {
    if ('leg' in to) {
      const spot = here(legOf(to.leg))
      return [spot.host, { leg: spot.leg }]
    }
    const side = await moves.sideOf(hallOf(to.room))
    return [side.host, { room: side.room }]
  }
}
