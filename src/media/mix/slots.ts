import type { PayloadType } from '../audio/audio.ts'
import type { Codecs } from '../codec/codec.ts'
import { opusSamples } from '../codec/opus-packet.ts'
import { createFrameEncoder, type FrameEncoder } from './frame-encoder.ts'
import type { MixerEvent, MixPacket, SlotSend } from './mix.ts'
import { type Candidate, createChoice } from './speakers.ts'

// Speaker slots: streams towards the SFU, each of which carries whoever holds it. A browser in a hundred then receives
// the few who speak and not a hundred. Opus goes through as it came, at once; other codecs are encoded once.

export interface Slots {
  open(slot: number, codec: PayloadType, send: SlotSend): void
  close(slot: number): void
  readonly size: number
  /** Decides anew who holds what. */
  assign(candidates: readonly Candidate[], now: number): void
  /** Passes an Opus packet on if its speaker holds a slot and has spoken of late. */
  forward(speaker: Candidate, packet: MixPacket, level: number, now: number): void
  /** Whether the member holds a slot. */
  holds(id: string): boolean
  /** The next 20 ms of a speaker who does not speak Opus; undefined when it pauses. */
  speak(speaker: Candidate, pcm: Int16Array | undefined, now: number): void
  free(): void
}

interface Slot {
  codec: PayloadType
  send: SlotSend
  holder: string | undefined
  /** Of the last packet passed on; undefined when a spurt begins with the next one. */
  sequence: number | undefined
  speaking: boolean
  encoder: FrameEncoder | undefined
}

/** A slot stays open this long after the last word, so that no sentence loses its first syllable. */
const LINGER_MS = 2000

/** Makes the slots of one mix, none at first. */
export function createSlots(codecs: Codecs, onEvent: (event: MixerEvent) => void): Slots {
  const slots = new Map<number, Slot>()
  const choice = createChoice(0)

  const resize = () => choice.resize(slots.size === 0 ? 0 : Math.max(...slots.keys()) + 1)

  function hand(number: number, slot: Slot, holder: string | undefined): void {
    slot.holder = holder
    slot.sequence = undefined
    slot.speaking = false
    slot.encoder?.free()
    slot.encoder = undefined
    onEvent({ type: 'slot', slot: number, id: holder })
  }

  const open = (speaker: Candidate, now: number) => speaker.speaking || now - speaker.heardAt < LINGER_MS

  const slotOf = (id: string): Slot | undefined => {
    for (const slot of slots.values()) if (slot.holder === id) return slot
    return undefined
  }

  return {
    open(number, codec, send) {
      const there = slots.get(number)
      if (there) Object.assign(there, { codec, send, sequence: undefined, speaking: false })
      else
        slots.set(number, {
          ...{ codec, send, holder: undefined, encoder: undefined },
          sequence: undefined,
          speaking: false,
        })
      resize()
    },
    close(number) {
      slots.get(number)?.encoder?.free()
      slots.delete(number)
      resize()
    },
    get size() {
      return slots.size
    },
    assign(candidates, now) {
      const holders = choice.choose(candidates, now)
      for (const [number, slot] of slots) {
        if (slot.holder !== holders[number]) hand(number, slot, holders[number])
      }
    },
    forward(speaker, packet, level, now) {
      const slot = slotOf(speaker.id)
      if (!slot) return
      if (!open(speaker, now)) {
        slot.sequence = undefined
        return
      }
      const samples = opusSamples(packet.payload)
      const step = slot.sequence === undefined ? 1 : ((packet.sequence - slot.sequence) << 16) >> 16
      // Late ones cannot be fitted in any more; a great leap is another stream.
      if (samples === 0 || (step <= 0 && step > -100)) return
      const marker = slot.sequence === undefined || step > 100 || step < 0
      slot.send(packet.payload, samples, marker, marker ? 0 : step - 1, level)
      slot.sequence = packet.sequence
    },
    holds: id => slotOf(id) !== undefined,
    speak(speaker, pcm, now) {
      const slot = slotOf(speaker.id)
      if (!slot) return
      if (!pcm || !open(speaker, now)) {
        slot.speaking = false
        return
      }
      slot.encoder ??= createFrameEncoder(codecs)
      const payload = slot.encoder.encode(pcm)
      if (!payload) return
      const level = Math.min(127, Math.max(0, Math.round(-speaker.loudness)))
      slot.send(payload, slot.codec.clockRate / 50, !slot.speaking, 0, level)
      slot.speaking = true
    },
    free() {
      for (const slot of slots.values()) slot.encoder?.free()
      slots.clear()
    },
  }
}
