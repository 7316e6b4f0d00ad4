import { Refusal } from '../../errors.ts'
import type { Membership } from '../media.ts'
import type { Leg } from './leg.ts'
import { keyOf, type Room, type RoomDeps } from './room.ts'
import { createTurns } from './turns.ts'
import { showVideos } from './videos.ts'

/** Two legs that hear and see each other: packets are passed on, and decoded only where no codec is common. */
export function createBridge(deps: RoomDeps): Room {
  const { audio } = deps
  const inTurn = createTurns()
  const legs = new Map<Leg, Membership>()
  /** What is linked, or joined to the mix. */
  let linked = ''
  /** While the call is recorded its two legs are members of a mix. */
  let mix: string | undefined
  let recordings = 0

  const mingle = async (id: string) => {
    for (const [leg, { name }] of legs) {
      const voice = leg.voice()
      if (voice === undefined) continue
      await audio.join(voice.end, id, {})
      if (name !== undefined) await audio.name(voice.end, name)
    }
  }

  const arrange = () =>
    inTurn(async () => {
      const [one, other] = legs.keys()
      const key = `${keyOf(one)} ${keyOf(other)} ${mix ?? ''}`
      if (key !== linked) {
        const voices = [one?.voice(), other?.voice()].filter(voice => voice !== undefined)
        const [first, second] = voices
        if (mix !== undefined) await mingle(mix)
        else if (first && second) await audio.link(first.end, second.end)
        else if (first) await audio.unlink(first.end)
        linked = key
      }
      if (one?.scene) await showVideos(one, other ? [other] : [])
      if (other?.scene) await showVideos(other, one ? [one] : [])
    })

  const closeMix = async (id: string) => {
    deps.onMix(id, false)
    await audio.closeMix(id)
  }

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
    legs: () => [...legs.keys()],
    async add(leg, as) {
      if (legs.size === 2 && !legs.has(leg)) throw new Refusal('busy-here', 'Two are in this bridge')
      const muted = legs.get(leg)?.muted ?? false
      legs.set(leg, as)
      await arrange()
      const voice = leg.voice()
      if (voice !== undefined && muted !== (as.muted ?? false)) await audio.mute(voice.end, as.muted ?? false)
    },
    remove,
    changed: arrange,
    mixed: () => (mix === undefined ? undefined : Promise.resolve(mix)),
    speaker() {},
    slot() {},
    reset() {
      linked = ''
      if (mix !== undefined) deps.onMix(mix, false)
      mix = undefined
    },
    async mix() {
      recordings += 1
      await inTurn(async () => {
        if (mix !== undefined) return
        mix = await audio.openMix({ speakers: 2 })
        deps.onMix(mix, true)
      })
      await arrange()
      return mix!
    },
    async unmix() {
      recordings -= 1
      if (recordings > 0) return
      const ended = mix
      mix = undefined
      await arrange()
      if (ended !== undefined) await closeMix(ended)
    },
    async close() {
      await Promise.all([...legs.keys()].map(remove))
      const ended = mix
      mix = undefined
      if (ended !== undefined) await closeMix(ended)
    },
  }
}
