import type { PayloadType, ToneWish } from './audio.ts'
import type { End, EventPacket, MediaPacket, Route } from './end.ts'
import type { Hub, Mixery } from './hub.ts'
import { createMixing, type Mixing } from './mixing.ts'

// A mix of any number of ends, with speaker slots for those who hear packets of single speakers instead.

export interface Meeting extends Route {
  readonly id: string
  readonly mixing: Mixing
  join(end: End, slots: boolean): void
  openSlot(slot: number, codec: PayloadType, sender: End): void
  play(end: End | undefined, tone: ToneWish): { playing: string; mixing: Mixing }
  close(): Promise<void>
}

export function createMeeting(hub: Hub, mixery: Mixery, id: string, speakers: number): Meeting {
  const members = new Map<End, { slots: boolean }>()
  const mixing = createMixing(hub, mixery, { speakers }, event => {
    switch (event.type) {
      case 'speaking':
        return hub.emit({ type: 'speaking', end: event.id, on: event.on })
      case 'speaker':
        return hub.emit({ type: 'speaker', mix: id, end: event.id })
      case 'slot':
        return hub.emit({ type: 'slot', mix: id, slot: event.slot, end: event.id })
      case 'record-failed':
        return hub.emit({ type: 'record-failed', recording: mixing.recording(event.recording), why: event.why })
    }
  })
  const meeting: Meeting = {
    id,
    mixing,
    join(end, slots) {
      members.set(end, { slots })
      end.route = meeting
      mixing.add(end, slots)
    },
    receive(from: End, packet: MediaPacket) {
      mixing.receive(from, packet)
    },
    // Events are for us: a meeting's members would hear each other's keys.
    event(_from: End, _packet: EventPacket) {},
    changed(end) {
      const member = members.get(end)
      if (member) mixing.add(end, member.slots)
    },
    muted: end => mixing.mute(end),
    leave(end) {
      if (end.route === meeting) end.route = undefined
      if (members.delete(end)) mixing.remove(end)
    },
    openSlot(slot, codec, sender) {
      sender.route = {
        receive() {},
        event() {},
        changed() {},
        muted() {},
        leave: () => mixing.closeSlot(slot),
      }
      mixing.slot(slot, codec, sender)
    },
    play: (end, tone) => ({ playing: mixing.play(end, tone), mixing }),
    async close() {
      for (const end of members.keys()) if (end.route === meeting) end.route = undefined
      members.clear()
      await mixing.close()
    },
  }
  return meeting
}
