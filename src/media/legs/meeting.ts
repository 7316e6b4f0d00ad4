import type { AudioCodec } from '../audio/audio.ts'
import type { Membership } from '../media.ts'
import type { Mix } from '../mixer.ts'
import type { Leg } from './leg.ts'
import { keyOf, type Room, type RoomDeps } from './room.ts'
import { createSlots } from './slots.ts'
import { createTurns } from './turns.ts'
import { showVideos } from './videos.ts'

interface Member {
  as: Membership
  /** What was joined to the mix. */
  joined: string
  /** The end of the audio thread that was. */
  end: string | undefined
}

const audioCodecs: readonly AudioCodec[] = ['opus', 'G722', 'PCMU', 'PCMA']

/** A room in which everybody hears the loudest others, mixed or in speaker slots, and sees the videos of a few. */
export function createMeeting(deps: RoomDeps & { onSpeaker: (leg: string | undefined) => void }): Room {
  const { audio } = deps
  const inTurn = createTurns()
  const members = new Map<Leg, Member>()
  const slots = createSlots(audio, deps.speakers)
  /** Ids of legs, the last speaker first. */
  let spoken: string[] = []
  let mix: Promise<Mix> | undefined
  /** What `mix` has become, and the name that it was given in events. */
  let open: { mix: Mix; id: string } | undefined
  let closed = false

  const legOf = (end: string | undefined) =>
    end === undefined ? undefined : [...members.keys()].find(leg => leg.voice()?.end === end)

  const forget = () => {
    if (open !== undefined) deps.onMix(open.id, false)
    open = undefined
    mix = undefined
  }

  const named = (opened: Mix) => {
    if (open !== undefined) deps.onMix(open.id, false)
    open = { mix: opened, id: opened.id }
    deps.onMix(opened.id, true)
    return opened
  }

  const openMix = () => {
    if (mix !== undefined) return mix
    const opening: Promise<Mix> = deps.mixer
      .open({ speakers: deps.speakers, onMoved: () => void moved(opening) })
      .then(named)
    mix = opening
    opening.catch(() => {
      if (mix === opening) mix = undefined
    })
    return opening
  }

  /** Another makes the mix from now on: it has another name, and may have speaker slots. */
  const moved = async (moving: Promise<Mix>) => {
    const opened = await moving
    if (mix !== moving || closed) return
    named(opened)
    for (const [leg, member] of members) {
      member.joined = ''
      changed(leg).catch(error => leg.log.warn({ err: error }, 'cannot hear the meeting as before'))
    }
  }

  /** What was its end may have been closed; a mix that is made elsewhere does not see that. */
  const takeOut = async (member: Member) => {
    const { end } = member
    member.end = undefined
    member.joined = ''
    if (end !== undefined) await open?.mix.remove(end)
  }

  const hear = async (leg: Leg, member: Member) => {
    const voice = rests(leg) ? undefined : leg.voice()
    const lines = leg.scene?.slots() ?? []
    if (member.end !== voice?.end) await takeOut(member)
    if (voice === undefined) return slots.hide(leg)
    const opened = await openMix()
    const wide = lines.length >= deps.speakers && opened.local
    const key = `${keyOf(leg)} ${wide}`
    if (member.joined !== key) {
      const { muted = false, name } = member.as
      await opened.add(voice.end, { muted, slots: wide, codec: codecOf(voice.codec), name })
      member.joined = key
      member.end = voice.end
    }
    if (wide && leg.scene) await slots.show(leg, leg.scene, lines, opened.id)
    else await slots.hide(leg)
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
      const member = members.get(leg)
      if (member === undefined) return
      members.delete(leg)
      spoken = spoken.filter(id => id !== leg.id)
      await slots.hide(leg)
      await takeOut(member)
      await showVideos(leg, [])
      await see()
    })

  return {
    id: deps.id,
    transient: deps.transient,
    legs: () => [...members.keys()],
    async add(leg, as) {
      const member = members.get(leg)
      if (member === undefined) members.set(leg, { as, joined: '', end: undefined })
      else {
        const voice = leg.voice()
        if (voice !== undefined && member.as.muted !== as.muted) await open?.mix.mute(voice.end, as.muted ?? false)
        member.as = as
      }
      await changed(leg)
    },
    remove,
    changed,
    mixed: () => ((open?.mix ?? deps.mixer).local ? openMix().then(one => one.id) : undefined),
    speaker(end) {
      const leg = legOf(end)
      deps.onSpeaker(leg?.id)
      if (leg === undefined || spoken[0] === leg.id) return
      spoken = [leg.id, ...spoken.filter(id => id !== leg.id)]
      void inTurn(see).catch(error => deps.log.warn({ err: error }, 'cannot show the speaker'))
    },
    slot(slot, end) {
      slots.carries(slot, legOf(end))
    },
    reset() {
      open?.mix.close().catch(error => deps.log.debug({ err: error }, 'a mix was not closed'))
      forget()
      slots.reset()
      for (const member of members.values()) {
        member.joined = ''
        member.end = undefined
      }
    },
    mix: async () => (await openMix()).tap(),
    unmix: async () => open?.mix.untap(),
    async close() {
      if (closed) return
      closed = true
      await Promise.all([...members.keys()].map(remove))
      await inTurn(async () => {
        await slots.close()
        const opened = await mix?.catch(() => undefined)
        forget()
        await opened?.close()
      })
    },
  }
}

/** Nothing is sent and heard on its lines, as when its party sends to the others directly: nothing is mixed for it. */
function rests(leg: Leg): boolean {
  const streams = leg.streams()
  return streams.length > 0 && streams.every(({ direction }) => direction === 'inactive')
}

function codecOf(name: string): AudioCodec | undefined {
  return audioCodecs.find(codec => codec.toLowerCase() === name.toLowerCase())
}
