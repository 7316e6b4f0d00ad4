import type { Membership } from '../media.ts'
import type { Leg } from './leg.ts'
import { keyOf, type Room, type RoomDeps } from './room.ts'
import { createSlots } from './slots.ts'
import { createTurns } from './turns.ts'
import { showVideos } from './videos.ts'

interface Member {
  as: Membership
  /** What was joined to the mix. */
  joined: string
  slots: boolean
}

/** A room in which everybody hears the loudest others, mixed or in speaker slots, and sees the videos of a few. */
export function createMeeting(deps: RoomDeps & { onSpeaker: (leg: string | undefined) => void }): Room {
  const { audio } = deps
  const inTurn = createTurns()
  const members = new Map<Leg, Member>()
  const slots = createSlots(audio, deps.speakers)
  /** Ids of legs, the last speaker first. */
  let spoken: string[] = []
  let mix: Promise<string> | undefined
  let closed = false

  const legOf = (end: string | undefined) =>
    end === undefined ? undefined : [...members.keys()].find(leg => leg.voice()?.end === end)

  const openMix = () => {
    if (mix !== undefined) return mix
    const opening = audio.openMix({ speakers: deps.speakers }).then(id => {
      deps.onMix(id, true)
      return id
    })
    mix = opening
    opening.catch(() => {
      if (mix === opening) mix = undefined
    })
    return opening
  }

  const hear = async (leg: Leg, member: Member) => {
    const voice = leg.voice()
    const lines = leg.scene?.slots() ?? []
    const wide = lines.length >= deps.speakers
    const key = `${keyOf(leg)} ${wide}`
    if (voice === undefined) {
      member.joined = ''
      return
    }
    const id = await openMix()
    if (member.joined !== key) {
      await audio.join(voice.end, id, { muted: member.as.muted ?? false, slots: wide })
      if (member.as.name !== undefined) await audio.name(voice.end, member.as.name)
      member.joined = key
      member.slots = wide
    }
    if (wide && leg.scene) await slots.show(leg, leg.scene, lines, id)
  }

  const see = async () => {
    for (const [leg, member] of members) {
      if (leg.scene === undefined) continue
      const others = [...members.keys()].filter(other => other !== leg)
      await showVideos(leg, others, { tiles: member.as.tiles, spoken })
    }
  }

  const changed = (leg: Leg) =>
    inTurn(async () => {
      const member = members.get(leg)
      if (member === undefined) return
      await hear(leg, member)
      await see()
    })

  const remove = (leg: Leg) =>
    inTurn(async () => {
      if (!members.delete(leg)) return
      spoken = spoken.filter(id => id !== leg.id)
      await slots.hide(leg)
      const voice = leg.voice()
      if (voice !== undefined) await audio.unlink(voice.end)
      await showVideos(leg, [])
      await see()
    })

  return {
    id: deps.id,
    transient: deps.transient,
    legs: () => [...members.keys()],
    async add(leg, as) {
      const member = members.get(leg)
      if (member === undefined) members.set(leg, { as, joined: '', slots: false })
      else {
        const voice = leg.voice()
        if (voice !== undefined && member.as.muted !== as.muted) await audio.mute(voice.end, as.muted ?? false)
        member.as = as
      }
      await changed(leg)
    },
    remove,
    changed,
    mixed: openMix,
    speaker(end) {
      const leg = legOf(end)
      deps.onSpeaker(leg?.id)
      if (leg === undefined || spoken[0] === leg.id) return
      spoken = [leg.id, ...spoken.filter(id => id !== leg.id)]
      void inTurn(see).catch(error => deps.log.warn({ err: error }, 'cannot show the speaker'))
    },
    slot(slot, end) {
      slots.carries(slot, end, legOf(end))
    },
    reset() {
      void mix?.then(id => deps.onMix(id, false)).catch(() => undefined)
      mix = undefined
      slots.reset()
      for (const member of members.values()) member.joined = ''
    },
    mix: openMix,
    async unmix() {},
    async close() {
      if (closed) return
      closed = true
      await Promise.all([...members.keys()].map(remove))
      await inTurn(async () => {
        await slots.close()
        const id = await mix?.catch(() => undefined)
        mix = undefined
        if (id === undefined) return
        deps.onMix(id, false)
        await audio.closeMix(id)
      })
    },
  }
}
