import { threadId } from 'node:worker_threads'
import type { MixerEvent, MixMember, MixPacket } from '../mix/mixer.ts'
import type { PayloadType, ToneWish } from './audio.ts'
import type { End, MediaPacket } from './end.ts'
import type { Hub, Mixery } from './hub.ts'

// A mixer with ends in it: packets of theirs go in without their headers, and what it sends gets headers of ours.

export interface Mixing {
  /** Puts an end in, or takes over that its codec or direction has changed. */
  add(end: End, slots: boolean): void
  remove(end: End): void
  mute(end: End): void
  rename(end: End): void
  receive(from: End, packet: MediaPacket): void
  /** How loud an end is now, 0 to 127 as in RFC 6464. */
  level(end: End): number | undefined
  /** A sender that carries the packets of whoever holds speaker slot `slot`. */
  slot(slot: number, codec: PayloadType, sender: End): void
  closeSlot(slot: number): void
  /** To one end, or to all; gives the id of the playing, which no other mixer uses. */
  play(end: End | undefined, tone: ToneWish): string
  stop(playing: string): void
  readonly playing: number
  /** The id that `record` gave for a recording of the mixer's. */
  recording(id: string): string
  record(files: { directory: string; name: string; perSpeaker: boolean }): string
  stopRecord(recording: string): Promise<{ file: string; speaker: string; seconds: number; bytes: number }[]>
  close(): Promise<void>
}

// What an end without a codec to be sent is entered with: nothing is encoded for it.
const none: PayloadType = { payloadType: 0, codec: 'PCMU', clockRate: 8000, channels: 1 }
const packetFor: MixPacket = { sequence: 0, timestamp: 0, payload: Buffer.alloc(0), marker: false, codec: 'CN' }
let mixings = 0
// The part of a packet that was made last: sockets that are read directly put packets of one length into the same bytes.
let bytes: Uint8Array = Buffer.alloc(0)
let [start, end] = [0, 0]
let payload = bytes

export function createMixing(
  hub: Hub,
  { codecs, createMixer }: Mixery,
  options: { speakers: number; rate?: 16000 | 48000 },
  onEvent: (event: MixerEvent) => void,
): Mixing {
  // Unlike any of a thread that has died.
  const prefix = `${threadId}-${++mixings}/`
  const playing = new Set<string>()
  const ended = (id: string) => {
    if (playing.delete(id)) hub.emit({ type: 'played', playing: prefix + id })
  }
  const mixer = createMixer({
    ...options,
    codecs,
    now: hub.now,
    onEvent(event) {
      if (event.type === 'played') ended(event.playing)
      onEvent(event)
    },
  })
  const stopTicking = hub.ticker.add(() => mixer.tick())
  let closed = false
  return {
    add: (end, slots) => mixer.add(end.id, memberFor(hub, end, slots)),
    remove: end => mixer.remove(end.id),
    mute: end => mixer.mute(end.id, end.muted),
    rename: end => mixer.name(end.id, end.name),
    receive(from, packet) {
      packetFor.sequence = packet.sequence
      packetFor.timestamp = packet.timestamp
      if (packet.bytes !== bytes || packet.start !== start || packet.end !== end) {
        ;({ bytes, start, end } = packet)
        payload = bytes.subarray(start, end)
      }
      packetFor.payload = payload
      packetFor.marker = packet.marker
      packetFor.codec = packet.codec
      packetFor.level = packet.level < 0 ? undefined : packet.level
      packetFor.ssrc = packet.source.ssrc
      mixer.receive(from.id, packetFor)
      hub.ticker.nudge()
    },
    level: end => mixer.stats(end.id)?.level,
    slot: (slot, codec, sender) =>
      mixer.slot(slot, codec, (payload, samples, marker, missing, level) => {
        sender.out.emit(samples, marker, hub.now(), missing)
        sender.transmit(codec.payloadType, payload, 0, payload.length, level)
      }),
    closeSlot: slot => mixer.closeSlot(slot),
    play(end, tone) {
      const id = mixer.play(end?.id, tone)
      playing.add(id)
      return prefix + id
    },
    stop: id => mixer.stop(id.slice(prefix.length)),
    get playing() {
      return playing.size
    },
    recording: id => prefix + id,
    record: files => prefix + mixer.record(files),
    stopRecord: id => mixer.stopRecord(id.slice(prefix.length)),
    async close() {
      if (closed) return
      closed = true
      stopTicking()
      for (const id of playing) ended(id)
      await mixer.close()
    },
  }
}

function memberFor(hub: Hub, end: End, slots: boolean): MixMember {
  const codec = end.sends
  const member: MixMember = {
    codec: codec ?? none,
    send(payload, samples, marker) {
      if (codec === undefined) return
      end.out.emit(samples, marker, hub.now())
      end.transmit(codec.payloadType, payload, 0, payload.length, -1)
    },
    muted: end.muted,
    slots: slots || codec === undefined,
  }
  if (end.name) member.name = end.name
  return member
}
