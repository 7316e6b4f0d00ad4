import { createDesk, rateFor } from './desk.ts'
import { createFrameEncoder } from './frame-encoder.ts'
import { createIncoming, type Incoming } from './incoming.ts'
import { createLimiter, type Limiter } from './limiter.ts'
import type { Mixer, MixerOptions, MixMember, MixPacket, RecordedFile } from './mix.ts'
import { createOutgoing, type Outlet } from './outgoing.ts'
import { createPlayings, type Heard } from './playing.ts'
import { createRecording, type Recording } from './recording.ts'
import { createSlots } from './slots.ts'
import { type Activity, createActivity, createChoice } from './speakers.ts'

export type * from './mix.ts'

interface Member extends Activity {
  readonly id: string
  wish: MixMember
  muted: boolean
  incoming: Incoming
  outlet: Outlet
  limiter: Limiter
  /** What it says in this tick, while it is heard. */
  voice: Int16Array | undefined
  /** Room for what only it hears; made when first needed. */
  room: Int16Array | undefined
  /** Whether it was last told to speak. */
  told: boolean
}

/** A speaker stays in the mix this long after the last word: the end of a sentence is quiet. */
const LINGER_MS = 800
/** A rate that nobody needs any more is kept so long, in ticks: members change their codecs, leave and come back. */
const KEEP_RATE = 250

/** Makes the mixer of one meeting; close it. */
export function createMixer(options: MixerOptions): Mixer {
  const { codecs, now, onEvent } = options
  let desk = createDesk(options.rate ?? 8000)
  let { rate } = desk
  const members = new Map<string, Member>()
  const recordings = new Map<string, Recording>()
  const mixed = createOutgoing(codecs, rate)
  /** For members with slots, who hear tones and nothing else from here. */
  const tonesOnly = createOutgoing(codecs, rate)
  const playings = createPlayings(rate, playing => onEvent({ type: 'played', playing }))
  const slots = createSlots(codecs, onEvent)
  const choice = createChoice(options.speakers)
  const loudest = createChoice(1)
  const limiter = createLimiter()
  const toneLimiter = createLimiter()
  /** Members who may be heard, kept as they come and go. */
  let candidates: Member[] = []
  let speaker: string | undefined
  let recorded = 0
  let needed = desk.rate
  let unneeded = 0
  let closed = false

  const elect = () => {
    needed = rateFor(members.values())
    candidates = [...members.values()].filter(member => !member.muted)
  }
  /** Brings the mix to the rate that its members need: to a higher one at once, to a lower one later. */
  function tune(): void {
    if (options.rate !== undefined) return
    unneeded = needed < rate ? unneeded + 1 : 0
    if (needed === rate || (needed < rate && unneeded < KEEP_RATE)) return
    desk = createDesk(needed)
    rate = needed
    for (const member of members.values()) {
      member.incoming.retune(rate)
      member.room = undefined
    }
    mixed.retune(rate)
    tonesOnly.retune(rate)
    playings.retune(rate)
  }
  const sideOf = (member: Member) => (member.wish.slots ? tonesOnly : mixed)
  /** Whether anybody hears what is decoded here. */
  const listening = () => mixed.size > 0 || recordings.size > 0

  function add(id: string, wish: MixMember): void {
    const there = members.get(id)
    if (there) sideOf(there).remove(there.outlet)
    const outlet: Outlet = { codec: wish.codec, send: wish.send, own: undefined }
    const member: Member = there ?? newMember(id, wish, outlet)
    Object.assign(member, { wish, outlet, muted: wish.muted ?? member.muted })
    members.set(id, member)
    sideOf(member).add(outlet)
    elect()
  }

  function newMember(id: string, wish: MixMember, outlet: Outlet): Member {
    const incoming = createIncoming(codecs, rate, now)
    return Object.assign(createActivity(), {
      ...{ id, wish, outlet, incoming, muted: false, told: false },
      ...{ limiter: createLimiter(), voice: undefined, room: undefined },
    })
  }

  function remove(id: string): void {
    const member = members.get(id)
    if (!member) return
    playings.leave(id)
    sideOf(member).remove(member.outlet)
    member.incoming.free()
    members.delete(id)
    elect()
  }

  function receive(id: string, packet: MixPacket): void {
    const member = members.get(id)
    if (!member || member.muted || closed) return
    const opus = packet.codec !== 'CN' && packet.codec.codec === 'opus'
    const keep = listening() || (slots.size > 0 && !opus)
    const level = member.incoming.put(packet, keep)
    if (level === undefined) return
    const at = now()
    member.feed(level, at)
    if (opus && slots.size > 0) slots.forward(member, packet, level, at)
  }

  /** Who speaks, who of them is heard, who is loudest. */
  function judge(at: number): readonly (string | undefined)[] {
    for (const member of members.values()) {
      member.look(at)
      const speaking = member.speaking && !member.muted
      if (speaking !== member.told) {
        member.told = speaking
        onEvent({ type: 'speaking', id: member.id, on: speaking })
      }
    }
    const [first] = loudest.choose(candidates, at)
    if (first !== speaker) onEvent({ type: 'speaker', id: (speaker = first) })
    slots.assign(candidates, at)
    return choice.choose(candidates, at)
  }

  /** Fills `voice` of everybody who is heard in this tick. */
  function hear(chosen: readonly (string | undefined)[], at: number): void {
    const few = candidates.length <= options.speakers
    const anybody = listening()
    for (const member of members.values()) {
      // Where all have room nobody is cut off for being quiet.
      const lively = few || (chosen.includes(member.id) && (member.speaking || at - member.heardAt < LINGER_MS))
      const inSlot = slots.holds(member.id) && !member.incoming.opus
      const wanted = !member.muted && ((lively && anybody) || inSlot)
      member.voice = undefined
      if (!wanted) {
        member.incoming.pass()
        continue
      }
      const voice = member.incoming.hear()
      if (lively) member.voice = voice
      if (inSlot) slots.speak(member, voice, at)
    }
  }

  function addVoices(): number {
    const { sum, frame } = desk
    let voices = 0
    sum.fill(0)
    for (const member of members.values()) {
      const { voice } = member
      if (!voice) continue
      voices++
      for (let i = 0; i < frame; i++) sum[i]! += voice[i]!
    }
    return voices
  }

  function tick(): void {
    if (closed) return
    const at = now()
    tune()
    const { sum, tones, common, noise, frame } = desk
    hear(judge(at), at)
    const voices = addVoices()
    tones.fill(0)
    const tone = playings.toAll(tones)
    if (tone === 'alone') sum.set(tones)
    else if (tone === 'over') for (let i = 0; i < frame; i++) sum[i]! += tones[i]!
    const silent = voices === 0 && tone === 'nothing'
    limiter.run(sum, common)
    for (const recording of recordings.values()) write(recording, silent)
    noise.next()
    if (silent) common.set(noise.last())
    for (const member of members.values()) member.outlet.own = ownOf(member, voices, tone)
    mixed.tick(common)
    sendTones(tone !== 'nothing')
  }

  function write(recording: Recording, silent: boolean): void {
    for (const member of members.values()) if (member.voice) recording.voice(member.id, member.voice)
    recording.mix(silent ? undefined : desk.common)
  }

  /** What one member hears and no other: the mix without its own voice, or with a tone of its own. */
  function ownOf(member: Member, voices: number, tone: Heard): Int16Array | undefined {
    const { voice } = member
    const { sum, own, tones, noise, frame } = desk
    const without = voice && !member.wish.slots && tone !== 'alone'
    const toned = playings.has(member.id)
    if (!toned && !without) return undefined
    member.room ??= new Int16Array(frame)
    if (member.wish.slots) own.set(tones)
    else if (without) for (let i = 0; i < frame; i++) own[i] = sum[i]! - voice[i]!
    else own.set(sum)
    const heard = toned ? playings.toOne(member.id, own) : 'nothing'
    member.limiter.run(own, member.room)
    // Its own voice was all there is: it hears the quiet of a line that is up.
    if (without && voices === 1 && tone === 'nothing' && heard === 'nothing') member.room.set(noise.last())
    return member.room
  }

  function sendTones(toAll: boolean): void {
    if (tonesOnly.size === 0) return
    const { tones, toneFrame } = desk
    if (toAll) toneLimiter.run(tones, toneFrame)
    tonesOnly.tick(toAll ? toneFrame : undefined)
  }

  function record(files: { directory: string; name: string; perSpeaker: boolean }): string {
    const id = `record-${++recorded}`
    const recording = createRecording({
      ...files,
      encoder: () => createFrameEncoder(codecs),
      nameOf: member => members.get(member)?.wish.name ?? member,
      onFailure: why => onEvent({ type: 'record-failed', recording: id, why }),
    })
    recordings.set(id, recording)
    return id
  }

  async function stopRecord(id: string): Promise<RecordedFile[]> {
    const recording = recordings.get(id)
    recordings.delete(id)
    return recording ? recording.stop() : []
  }

  async function close(): Promise<void> {
    closed = true
    for (const id of [...members.keys()]) remove(id)
    mixed.free()
    tonesOnly.free()
    slots.free()
    await Promise.all([...recordings.keys()].map(stopRecord))
  }

  return {
    add,
    remove,
    mute(id, muted) {
      const member = members.get(id)
      if (member) member.muted = muted
      elect()
    },
    name(id, name) {
      const member = members.get(id)
      if (!member) return
      member.wish.name = name
      for (const recording of recordings.values()) recording.rename(id, name)
    },
    receive,
    slot: slots.open,
    closeSlot: slots.close,
    play(id, tone) {
      // Begun at the rate that it will be heard at, it needs no change of it.
      tune()
      return playings.play(id, tone)
    },
    stop: playings.stop,
    record,
    stopRecord,
    tick,
    stats(id) {
      const member = members.get(id)
      return member && { ...member.incoming.stats(), level: Math.round(-member.loudness) }
    },
    close,
  }
}
