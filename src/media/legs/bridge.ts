import { Refusal } from '../../errors.ts'
import type { Leg } from './leg.ts'
import { keyOf, type Room, type RoomDeps } from './room.ts'
import { createTurns } from './turns.ts'
import { showVideos } from './videos.ts'

/** Two legs that hear and see each other: packets are passed on, and decoded only where no codec is common. */
export function createBridge(deps: RoomDeps): Room {
  const { audio } = deps
  const inTurn = createTurns()
  const legs = new Set<Leg>()
  /** What is linked, or joined to the mix. */
  let linked = ''
  /** While the call is recorded its two legs are members of a mix. */
  let mix: string | undefined

  const arrange = () =>
    inTurn(async () => {
      const [one, other] = legs
      const key = `${keyOf(one)} ${keyOf(other)} ${mix ?? ''}`
      if (key !== linked) {
        const voices = [one?.voice(), other?.voice()].filter(voice => voice !== undefined)
        const [first, second] = voices
        if (mix !== undefined) await Promise.all(voices.map(voice => audio.join(voice.end, mix!, {})))
        else if (first && second) await audio.link(first.end, second.end)
        else if (first) await audio.unlink(first.end)
        linked = key
      }
      if (one?.scene) await showVideos(one, other ? [other] : [])
      if (other?.scene) await showVideos(other, one ? [one] : [])
    })

  const remove = async (leg: Leg) => {
    if (!legs.delete(leg)) return
    await inTurn(async () => {
      const voice = leg.voice()
      if (voice !== undefined) await audio.unlink(voice.end)
      if (leg.scene) await showVideos(leg, [])
      linked = ''
    })
    await arrange()
  }

  return {
    id: deps.id,
    transient: deps.transient,
    legs: () => [...legs],
    async add(leg) {
      if (legs.size === 2 && !legs.has(leg)) throw new Refusal('busy-here', 'Two are in this bridge')
      legs.add(leg)
      await arrange()
    },
    remove,
    changed: arrange,
    mixed: () => mix !== undefined,
    speaker() {},
    slot() {},
    reset() {
      linked = ''
      if (mix !== undefined) deps.onMix(mix, false)
      mix = undefined
    },
    async mix() {
      await inTurn(async () => {
        if (mix !== undefined) return
        mix = await audio.openMix({ speakers: 2 })
        deps.onMix(mix, true)
      })
      await arrange()
      return mix!
    },
    async close() {
      await Promise.all([...legs].map(remove))
      await inTurn(async () => {
        if (mix === undefined) return
        deps.onMix(mix, false)
        await audio.closeMix(mix)
        mix = undefined
      })
    },
  }
}
