import { randomBytes } from 'node:crypto'
import { Refusal } from '../../errors.ts'
import type { Logger } from '../../log.ts'
import type { AudioEngine, AudioEvent } from '../audio/audio.ts'
import type { Membership, RoomWish } from '../media.ts'
import type { Mixer } from '../mixer.ts'
import { createBridge } from './bridge.ts'
import { createEcho } from './echo.ts'
import type { Leg } from './leg.ts'
import { createMeeting } from './meeting.ts'
import type { Room } from './room.ts'

const delayMs = 2000
const most = 10_000

export interface RoomsDeps {
  audio: AudioEngine
  mixer: Mixer
  /** Most people who are heard at once in a meeting. */
  speakers: number
  log: Logger
  /** A mix has ended, and what was played in it. */
  onMixGone: (mix: string) => void
}

/** The rooms that there are, and which leg is in which. */
export interface Rooms {
  /** Refuses `too-busy`. */
  open(wish: RoomWish): string
  shut(id: string): Promise<void>
  /** Refuses `not-found`. */
  get(id: string): Room
  of(leg: Leg): Room | undefined
  join(leg: Leg, id: string, as: Membership): Promise<void>
  leave(leg: Leg): Promise<void>
  changed(leg: Leg): Promise<void>
  /** From the audio thread: who is loudest, whom a slot carries. */
  heard(event: AudioEvent): void
  /** The audio thread has died. */
  reset(): void
  count(): number
  close(): Promise<void>
}

export function createRooms(deps: RoomsDeps): Rooms {
  const rooms = new Map<string, Room>()
  const byLeg = new Map<Leg, Room>()
  const byMix = new Map<string, Room>()

  const make = (wish: RoomWish): Room => {
    const id = `room-${randomBytes(6).toString('hex')}`
    const log = deps.log.child({ room: id, kind: wish.kind, ...wish.label })
    const onMix = (mix: string, open: boolean) => {
      if (open) byMix.set(mix, room)
      else if (byMix.delete(mix)) deps.onMixGone(mix)
    }
    const { audio, mixer, speakers } = deps
    const base = { id, transient: wish.transient ?? false, audio, mixer, speakers, onMix, log }
    const room =
      wish.kind === 'meeting'
        ? createMeeting({ ...base, onSpeaker: leg => wish.onSpeaker?.(leg) })
        : wish.kind === 'bridge'
          ? createBridge(base)
          : createEcho(base, wish.kind === 'delay' ? delayMs : 0)
    return room
  }

  const get = (id: string) => {
    const room = rooms.get(id)
    if (room === undefined) throw new Refusal('not-found', 'There is no such room')
    return room
  }

  const shut = async (id: string) => {
    const room = rooms.get(id)
    rooms.delete(id)
    for (const leg of room?.legs() ?? []) byLeg.delete(leg)
    await room?.close()
  }

  const leave = async (leg: Leg) => {
    const room = byLeg.get(leg)
    if (room === undefined) return
    byLeg.delete(leg)
    await room.remove(leg)
    if (room.transient && room.legs().length === 0) await shut(room.id)
  }

  return {
    open(wish) {
      if (rooms.size >= most) throw new Refusal('too-busy', 'There are too many rooms')
      const room = make(wish)
      rooms.set(room.id, room)
      return room.id
    },
    shut,
    get,
    of: leg => byLeg.get(leg),
    async join(leg, id, as) {
      const room = get(id)
      if (byLeg.get(leg) !== room) await leave(leg)
      byLeg.set(leg, room)
      try {
        await room.add(leg, as)
      } catch (error) {
        if (!room.legs().includes(leg)) byLeg.delete(leg)
        throw error
      }
    },
    leave,
    async changed(leg) {
      await byLeg.get(leg)?.changed(leg)
    },
    heard(event) {
      if (event.type === 'speaker') byMix.get(event.mix)?.speaker(event.end)
      if (event.type === 'slot') byMix.get(event.mix)?.slot(event.slot, event.end)
    },
    reset() {
      for (const room of rooms.values()) room.reset()
      byMix.clear()
    },
    count: () => rooms.size,
    async close() {
      await Promise.all([...rooms.keys()].map(shut))
    },
  }
}
