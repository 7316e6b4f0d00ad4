import type { AudioEngine } from '../audio/audio.ts'
import type { OurLine } from '../sdp/ours.ts'
import { dialectName } from '../sdp/router.ts'
import type { Leg, Scene } from './leg.ts'
import type { Place } from './place.ts'
import type { Speaker } from './trunk.ts'

interface OpenSlot {
  speaker: Speaker
  end: string
}

/**
 * The speaker slots of one meeting: a producer per slot, router and numbering of payload types, sent to everybody who has
 * lines for it. The cost of a listener is a consumer in the worker, and nothing in the audio thread.
 */
export interface Slots {
  /** Sends the slots on a leg's lines; `mix` is the meeting's. */
  show(leg: Leg, scene: Scene, lines: readonly OurLine[], mix: string): Promise<void>
  hide(leg: Leg): Promise<void>
  /** Slot number `slot` carries the speech of `from` from now on: it is not sent to itself. */
  carries(slot: number, from: Leg | undefined): void
  reset(): void
  close(): Promise<void>
}

export function createSlots(audio: AudioEngine, most: number): Slots {
  const open = new Map<Place, Map<string, Promise<OpenSlot>>>()
  const showing = new Map<Leg, { scene: Scene; mids: readonly string[] }>()
  /** Who is in which slot. */
  const holders: (Leg | undefined)[] = []

  const openSlot = async (place: Place, line: OurLine, slot: number, mix: string): Promise<OpenSlot> => {
    const trunk = await place.trunk()
    const speaker = await trunk.speak(line, `slot${slot}`)
    const end = await audio.openSlot(mix, slot, trunk.id, speaker.send)
    return { speaker, end }
  }

  const slotOf = (place: Place, line: OurLine, slot: number, mix: string) => {
    const here = open.get(place) ?? new Map<string, Promise<OpenSlot>>()
    open.set(place, here)
    const key = `${slot} ${dialectName(line)}`
    let one = here.get(key)
    if (one === undefined) {
      one = openSlot(place, line, slot, mix)
      here.set(key, one)
      one.catch(() => here.delete(key))
    }
    return one
  }

  const close = async (all: OpenSlot[]) => {
    for (const { speaker, end } of all) {
      if (!speaker.producer.closed) speaker.producer.close()
      await audio.closeEnd(end)
    }
  }

  const takeAll = async (): Promise<OpenSlot[]> => {
    const all = [...open.values()].flatMap(here => [...here.values()])
    open.clear()
    const settled = await Promise.allSettled(all)
    return settled.flatMap(one => (one.status === 'fulfilled' ? [one.value] : []))
  }

  const tell = (leg: Leg, slot: number) => {
    const mid = showing.get(leg)?.mids[slot]
    const holder = holders[slot]
    if (mid !== undefined) leg.tell({ type: 'slot', mid, leg: holder === leg ? undefined : holder?.id })
  }

  return {
    async show(leg, scene, lines, mix) {
      const used = lines.slice(0, most)
      const before = showing.has(leg)
      showing.set(leg, { scene, mids: used.map(line => line.mid) })
      for (const [slot, line] of used.entries()) {
        let { speaker } = await slotOf(scene.place, line, slot, mix)
        if (speaker.producer.closed) {
          open.get(scene.place)?.delete(`${slot} ${dialectName(line)}`)
          speaker = (await slotOf(scene.place, line, slot, mix)).speaker
        }
        await scene.pause(line.mid, holders[slot] === leg)
        await scene.show(line.mid, speaker.producer)
      }
      if (!before) for (const slot of used.keys()) tell(leg, slot)
    },
    async hide(leg) {
      const { scene, mids } = showing.get(leg) ?? {}
      showing.delete(leg)
      for (const mid of mids ?? []) await scene?.show(mid, undefined)
      for (const [slot, holder] of holders.entries()) if (holder === leg) holders[slot] = undefined
    },
    carries(slot, from) {
      const before = holders[slot]
      holders[slot] = from
      for (const [leg, { scene, mids }] of showing) {
        const mid = mids[slot]
        if (mid === undefined) continue
        if (leg === from || leg === before) {
          scene.pause(mid, leg === from).catch(error => leg.log.warn({ err: error }, 'cannot pause a slot'))
        }
        tell(leg, slot)
      }
    },
    reset() {
      holders.length = 0
      void takeAll().then(all => {
        for (const { speaker } of all) if (!speaker.producer.closed) speaker.producer.close()
      })
    },
    async close() {
      showing.clear()
      await close(await takeAll())
    },
  }
}
