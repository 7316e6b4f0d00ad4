import type { RTCSession } from 'jssip/lib/RTCSession'
import type { Call } from './call.ts'
import type { Devices } from './devices.ts'
import { newId } from './jssip.ts'
import { Meeting } from './meeting.ts'
import type { MeetingDeps, SavedMeeting } from './meeting-view.ts'
import type { PhoneState } from './phone.ts'
import { reattach } from './replace.ts'
import type { Sip } from './sip.ts'
import type { Store } from './store.ts'

/** The ways into a meeting. One is in one meeting at a time. */
export interface Meetings {
  /** Calls a group or a meeting; undefined when that did not come about. */
  join(whom: string, name: string): Promise<Meeting | undefined>
  /** A meeting calls: it rings. */
  ring(session: RTCSession, address: string, name: string): void
  /** Makes a meeting of a call: whom one talks with moves into it, and somebody else is rung. */
  addPerson(call: Call, whom: string): Promise<void>
  /** Somebody else has made a meeting of a call; here it goes on as one. */
  adopt(call: Call, told: string, address: string): void
  /** Goes on after a reload. */
  resume(saved: SavedMeeting): Promise<void>
}

// Its end stays readable for a moment.
const endedMs = 2500

export function createMeetings(deps: {
  state: Store<PhoneState>
  devices: Devices
  sip(): Sip | undefined
  address(whom: string): string
  holdOthers(): Promise<void>
  onChange(): void
  onEnded(): void
}): Meetings {
  const { state, devices, sip, address, holdOthers, onChange, onEnded } = deps
  const meetingDeps: MeetingDeps = {
    devices,
    sip,
    reattach: (saved, options) => reattach(sip, saved.address, saved.dialog, options),
    onEnded(ended) {
      onChange()
      onEnded()
      setTimeout(() => {
        if (state.get().meeting === ended) state.set({ meeting: undefined as never })
      }, endedMs)
    },
  }

  function add(view: { name: string; address: string; incoming?: boolean }): Meeting {
    const made = new Meeting(meetingDeps, { id: newId(), ...view })
    state.set({ meeting: made })
    made.view.subscribe(onChange)
    onChange()
    return made
  }

  async function join(whom: string, name: string): Promise<Meeting | undefined> {
    state.get().meeting?.leave()
    const made = add({ name, address: address(whom) })
    await holdOthers()
    return (await made.join()) ? made : undefined
  }

  return {
    join,
    ring: (session, from, name) => add({ name, address: from, incoming: true }).ring(session),
    async addPerson(talk, whom) {
      const made = await join('meet', talk.view.get().name)
      const other = talk.session
      if (made === undefined || other === undefined) return
      // Who is on the phone is pulled over by Replaces; the server then ends the call that this leaves behind.
      made.session?.refer(talk.uri, { replaces: other })
      made.do({ do: 'invite', user: whom })
    },
    adopt(was, told, at) {
      if (was.ended) return
      const { since, name } = was.view.get()
      // It leaves the list first, so that its end is none that anybody hears of.
      state.set({ calls: state.get().calls.filter(one => one !== was) })
      const taken = was.handOver()
      if (taken) add({ name, address: at }).adopt(taken.session, taken.stream, told, since ?? Date.now())
    },
    resume: saved => add({ name: saved.name, address: saved.address }).resume(saved),
  }
}
