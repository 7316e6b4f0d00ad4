import type { PayloadType, ToneWish } from '../audio/audio.ts'
import type { Codecs, MixRate } from '../codec/codec.ts'
import { createIncoming, type Incoming } from './incoming.ts'
import { createLimiter, type Limiter } from './limiter.ts'
import { createOutgoing, type Outlet } from './outgoing.ts'
import { createPlayings, type Heard } from './playing.ts'
import { createRecording, type Recording } from './recording.ts'
import { createSlots } from './slots.ts'
import { type Activity, createActivity, createChoice } from './speakers.ts'

// The mixer of one meeting. It knows codecs and frames, not packets: whoever owns the sockets takes the RTP headers off
// what comes (`receive`), drives `tick` every 20 ms, and writes RTP headers around what the mixer sends.

export interface MixerOptions {
  /** From `loadCodecs()`, once per thread. */
  codecs: Codecs
  /** K: most members that are decoded and mixed at once. */
  speakers: number
  /** Milliseconds of a clock that never goes back. */
  now: () => number
  onEvent: (event: MixerEvent) => void
  /** Of the mix, in Hz. */
  rate?: MixRate
}

export type MixerEvent =
  | { type: 'speaking'; id: string; on: boolean }
  /** Loudest of those who speak; in a pause still the last one. */
  | { type: 'speaker'; id: string | undefined }
  /** Whose speech a slot carries from now on. */
  | { type: 'slot'; slot: number; id: string | undefined }
  | { type: 'played'; playing: string }
  /** A recording has ended by itself, for example because the disk is full; `stopRecord` still tells what was written. */
  | { type: 'record-failed'; recording: string; why: string }

export interface MixMember {
  /** What it is sent; its `ptime` is kept to. */
  codec: PayloadType
  /**
   * One encoded packet: `samples` is its length in units of the codec's RTP clock, `marker` says that a talk spurt begins
   * (RFC 3551 section 4.1): the timestamp then advances by the time that has really passed. The bytes may be shared with other members and are valid until
   * `send` returns. Called from `tick` only.
   */
  send: (payload: Uint8Array, samples: number, marker: boolean) => void
  muted?: boolean
  /** It hears speaker slots and no mix: `send` is called only while something is played to it. */
  slots?: boolean
  /** How it is shown in a recording's file names. */
  name?: string
}

export interface MixPacket {
  /** Of RTP, 16 bits. */
  sequence: number
  /** Of RTP, 32 bits. */
  timestamp: number
  /** Copied where it is kept: the bytes may be used again when `receive` returns. */
  payload: Uint8Array
  marker: boolean
  /** What the payload type stands for on this member's side; `CN` is comfort noise (RFC 3389). */
  codec: PayloadType | 'CN'
  /** RFC 6464: 0 (loudest) to 127 (silence), in -dBov, when the packet brought it. */
  level?: number | undefined
  /** Changes when the stream begins anew: its sequence and timestamps then mean nothing to what came before. */
  ssrc?: number
}

/**
 * One packet of a speaker slot. `missing` packets before it were lost on their way to us: the sequence number must leave
 * that gap, and the timestamp `missing * samples`. With `marker` another spurt or speaker begins. `level` as in RFC 6464.
 * Opus comes as the speaker sent it, straight from `receive`; G.711 and G.722 speakers are encoded once in `tick`.
 */
export type SlotSend = (payload: Uint8Array, samples: number, marker: boolean, missing: number, level: number) => void

export interface RecordedFile {
  file: string
  /** Empty for the mix. */
  speaker: string
  seconds: number
  bytes: number
}

export interface Mixer {
  /** Adds a member, or changes one that is there (another codec after a re-INVITE). */
  add(id: string, member: MixMember): void
  /** Idempotent. */
  remove(id: string): void
  mute(id: string, muted: boolean): void
  name(id: string, name: string): void
  /** Takes one packet of a member; nothing a stranger sends makes it throw. */
  receive(id: string, packet: MixPacket): void
  /** Opens slot number `slot` (0, 1 …), or gives it another sender. `codec` is Opus as the receiver has numbered it. */
  slot(slot: number, codec: PayloadType, send: SlotSend): void
  closeSlot(slot: number): void
  /** Plays a tone to one member or, without `id`, to all; gives the id of the playing. */
  play(id: string | undefined, tone: ToneWish): string
  /** Idempotent; `played` follows unless it had ended already. */
  stop(playing: string): void
  /** Begins a recording into a directory that exists; gives its id. */
  record(files: { directory: string; name: string; perSpeaker: boolean }): string
  stopRecord(recording: string): Promise<RecordedFile[]>
  /** Mixes and sends the next 20 ms. */
  tick(): void
  /** What each member's jitter buffer has seen. */
  stats(id: string): { lost: number; jitterMs: number; delayMs: number; level: number } | undefined
  /** Ends recordings and frees the codecs; idempotent. */
  close(): Promise<void>
}

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

/** Makes the mixer of one meeting; close it. */
export function createMixer(options: MixerOptions): Mixer {
  const { codecs, now, onEvent, rate = 48000 } = options
  const frame = rate / 50
  const members = new Map<string, Member>()
  const recordings = new Map<string, Recording>()
  const mixed = createOutgoing(codecs, rate)
  /** For members with slots, who hear tones and nothing else from here. */
  const tonesOnly = createOutgoing(codecs, rate)
  const playings = createPlayings(rate, playing => onEvent({ type: 'played', playing }))
  const slots = createSlots(codecs, rate, onEvent)
  const choice = createChoice(options.speakers)
  const loudest = createChoice(1)
  const noise = createNoise(frame)
  const limiter = createLimiter()
  const toneLimiter = createLimiter()
  const tones = new Int32Array(frame)
  const sum = new Int32Array(frame)
  const own = new Int32Array(frame)
  const common = new Int16Array(frame)
  const toneFrame = new Int16Array(frame)
  /** Members who may be heard, kept as they come and go. */
  let candidates: Member[] = []
  let speaker: string | undefined
  let recorded = 0
  let closed = false

  const elect = () => {
    candidates = [...members.values()].filter(member => !member.muted)
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
    recording.mix(silent ? undefined : common)
  }

  /** What one member hears and no other: the mix without its own voice, or with a tone of its own. */
  function ownOf(member: Member, voices: number, tone: Heard): Int16Array | undefined {
    const { voice } = member
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
    if (toAll) toneLimiter.run(tones, toneFrame)
    tonesOnly.tick(toAll ? toneFrame : undefined)
  }

  function record(files: { directory: string; name: string; perSpeaker: boolean }): string {
    const id = `record-${++recorded}`
    const recording = createRecording({
      ...files,
      encoder: () => codecs.encoder('opus', rate),
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

/** Quiet of about -70 dBov: without it people think that the line is dead. */
function createNoise(frame: number): { next(): void; last(): Int16Array } {
  const second = Int16Array.from({ length: frame * 50 }, () => Math.round((Math.random() - 0.5) * 36))
  let at = 0
  return {
    // A step that is no whole number of frames, so that it takes long to repeat.
    next() {
      at = (at + frame + 7) % (second.length - frame)
    },
    last: () => second.subarray(at, at + frame),
  }
}
