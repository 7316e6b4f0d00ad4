import { setTimeout as wait } from 'node:timers/promises'
import type { Leg } from '../calls/leg.ts'
import type { LocalDialog } from '../calls/local.ts'
import type { Seek } from '../calls/seek.ts'
import type { LegSnapshot } from '../calls/snapshot.ts'
import type { Home, MeetingsHere } from '../calls/takeover.ts'
import type { Replaces } from '../calls/transfer.ts'
import type { Way } from '../calls/ways.ts'
import type { Member, Members } from '../cluster/members.ts'
import type { Replication, Taken } from '../cluster/replication.ts'
import { Refusal } from '../errors.ts'
import type { Events } from '../events.ts'
import type { Logger } from '../log.ts'
import type { EngineDialogs } from '../sip/dialogs.ts'
import { parseNameAddr } from '../sip/engine/message/message.ts'
import { parseUri } from '../sip/engine/message/uri.ts'
import type { Followed } from './board.ts'
import type { Meeting } from './meeting.ts'
import type { Participant } from './participant.ts'
import {
  decodeMeeting,
  decodeMember,
  type MeetingSnapshot,
  type MemberSnapshot,
  meetingName,
  memberItem,
  memberName,
  readItem,
} from './snapshot.ts'
import { meetingType } from './wish.ts'

// Meetings of other nodes come here when their node dies, or when a request for one of their dialogs arrives. The meeting
// itself is taken first, and whoever has it takes its members.

export interface AdoptionDeps {
  replication: Replication
  dialogs: EngineDialogs
  members: Pick<Members, 'life' | 'onDeath'>
  seek: Seek
  /** The meeting with that id here. */
  find(meeting: string): Meeting | undefined
  /** Those that are here. */
  list(): Iterable<Meeting>
  /** Begins a meeting as it was; where another one is going on at its address by now, that one. */
  open(was: MeetingSnapshot): Meeting
  /** The dialog of a member, that is installed in the engine. */
  restore(meeting: Meeting, member: number, was: LegSnapshot, contact: string): LocalDialog
  /** Goes on with a subscription to the roster of an address, whose dialog is here now. */
  follow(meeting: Meeting, user: string, followed: Followed): void
  sessionExpires: number
  events: Events
  log: Logger
}

export interface Adoption extends MeetingsHere {
  /** Takes all meetings of a dead life; how many. */
  adopt(life: string): Promise<number>
  /** The meeting of that id, which its node has given up or left; undefined when another node has it, or nobody. */
  bring(id: string): Promise<Meeting | undefined>
  /** Another node has it now: nobody is told. */
  letGo(meeting: Meeting): void
  close(): void
}

// What two nodes have taken at once, a meeting and its members, comes together in so many looks.
const looks = 10
const lookMs = 150
// A browser whose page lives comes back within some seconds.
const browserSeconds = 60
const phoneSeconds = 300

/** Goes on with meetings of nodes that are gone. */
export function createAdoption(deps: AdoptionDeps): Adoption {
  const { replication, dialogs, members, seek, log } = deps
  /** What is ours and not here yet, by its item. */
  const waiting = new Map<string, Taken>()
  /** The life over which a member is reached, where the dialog itself does not tell. */
  const over = new WeakMap<LocalDialog, string>()
  const restoring = new Map<string, Promise<Meeting | undefined>>()
  const stops = [
    members.onDeath(dead => {
      seekLost(dead).catch((error: unknown) => log.error({ err: error }, 'members were not looked for'))
      const { life, node } = dead
      // Also where `lazy` is the rule a group may want more.
      if (replication.strategy === 'none') return
      adopt(life).catch((error: unknown) => log.error({ err: error, node }, 'meetings could not be taken over'))
    }),
    replication.onLost((kind, item) => {
      const meeting = kind === 'meeting' ? deps.find(readItem(item).meeting) : undefined
      if (meeting) letGo(meeting)
    }),
  ]

  function letGo(meeting: Meeting): void {
    const ids = meeting.people.map(({ dialog }) => dialog.id)
    meeting.lose()
    for (const id of ids) dialogs.forget(id).catch((error: unknown) => log.error({ err: error }, 'not forgotten'))
  }

  /** Members of meetings here that were reached over a node which is gone; their media goes on. */
  async function seekLost({ life, sip }: Member): Promise<void> {
    const at = parseUri(sip)
    for (const meeting of [...deps.list()]) {
      for (const one of meeting.people) {
        const { dialog } = one
        const state = one.away || dialog.ended ? undefined : await dialogs.read(dialog.id)
        if (state === undefined) continue
        const [route] = state.routes
        const first = route === undefined ? undefined : parseNameAddr(route).uri
        const recorded = first !== undefined && first.host === at?.host && first.port === at.port
        if (!recorded && over.get(dialog) !== life) continue
        void seek.seek({
          ...{ leg: dialog.dialog, was: { dialog: state, device: dialog.dialog.device }, log: meeting.log },
          seconds: state.session?.interval ?? deps.sessionExpires,
          ended: () => dialog.ended || one.dialog !== dialog,
          ask: async (_state, way) => {
            noteWay(dialog, way)
            if (one.profile === 'webrtc' && one.aware) return rejoin(one, dialog)
            // Refused for now, it is asked again when it registers.
            return (await dialog.renegotiate()) ? 200 : 503
          },
          lost: why => void dialog.bye({}, why),
        })
        dialog.once('ended', () => seek.forget(dialog.dialog))
      }
    }
  }

  /** Remembers the node that requests to a member go over. */
  function noteWay(dialog: LocalDialog, { proxy }: Way): void {
    const node = /;node=([^;]*)/.exec(proxy ?? '')?.[1]
    if (node === undefined) over.delete(dialog)
    else over.set(dialog, node)
  }

  async function adopt(life: string): Promise<number> {
    const began = performance.now()
    const ids = new Set<string>()
    for await (const taken of replication.adopt(life, 'meeting')) {
      waiting.set(taken.id, taken)
      ids.add(readItem(taken.id).meeting)
    }
    await Promise.all(Array.from(ids, bring))
    if (ids.size > 0)
      log.warn({ life, meetings: ids.size, ms: Math.round(performance.now() - began) }, 'meetings taken over')
    return ids.size
  }

  /** The meeting of that id, here; once for all who ask at the same time. */
  function bring(id: string): Promise<Meeting | undefined> {
    const under = restoring.get(id)
    if (under !== undefined) return under
    const made = restore(id)
      .catch((error: unknown) => {
        if (!(error instanceof Refusal)) log.error({ err: error, meeting: id }, 'a meeting could not be taken over')
        else log.warn({ why: error.message, meeting: id }, 'a meeting could not be taken over')
        return undefined
      })
      .finally(() => restoring.delete(id))
    restoring.set(id, made)
    return made
  }

  async function restore(id: string): Promise<Meeting | undefined> {
    const here = deps.find(id)
    const taken = here === undefined ? await obtain(id, meetingName(id)) : undefined
    const was = taken && decodeMeeting(taken.snapshot)
    if (here === undefined && was === undefined) {
      log.warn({ meeting: id }, 'there is no such meeting to take over, or another node has it')
      await giveBack(id)
      return undefined
    }
    const meeting = here ?? deps.open(was!)
    const found = await Promise.all(
      (was?.members ?? []).map(member => obtain(memberItem(id, member), memberName(id, member))),
    )
    found.push(...takeWaiting(id))
    const came = await Promise.all(found.map(one => one && takeIn(meeting, one)))
    // Those of a meeting that went on in another one are kept with that.
    if (meeting.id !== id) await replication.end('meeting', id)
    meeting.goOn(was?.recording === true)
    if (here === undefined)
      deps.events.emit('groupTaken', { group: meeting.uri, meeting: meeting.id, members: meeting.people.length })
    meeting.log.info({ members: came.filter(Boolean).length, in: meeting.id }, 'meeting taken over')
    return meeting
  }

  /** Members that were taken for a meeting that another node has. */
  async function giveBack(id: string): Promise<void> {
    await Promise.all(takeWaiting(id).map(taken => replication.release('meeting', taken.id)))
  }

  function takeWaiting(id: string): Taken[] {
    const found = [...waiting.values()].filter(taken => taken.id !== id && readItem(taken.id).meeting === id)
    for (const { id: item } of found) waiting.delete(item)
    return found
  }

  /** Takes an item of a dead node; one that another node has taken by itself is given back soon. */
  async function obtain(item: string, name: string): Promise<Taken | undefined> {
    for (let look = 0; look < looks; look++) {
      const mine = waiting.get(item)
      waiting.delete(item)
      if (mine !== undefined) return mine
      const taken = await replication.takeOver(name)
      if (taken === undefined || 'snapshot' in taken) return taken
      // Who has the meeting gets its members.
      if (readItem(item).member === undefined && taken.owner !== members.life) return undefined
      await wait(lookMs, undefined, { ref: false })
    }
    return undefined
  }

  async function takeIn(meeting: Meeting, taken: Taken): Promise<boolean> {
    const was = decodeMember(taken.snapshot)
    if (was === undefined) {
      meeting.log.error({ member: taken.id, from: taken.from }, 'the state of a member cannot be read')
      return false
    }
    const moves = was.meeting !== meeting.id
    if (!moves && meeting.member(was.id) !== undefined) return true
    try {
      await dialogs.install(was.leg.dialog)
      const id = moves ? meeting.reserve({ ...was.person, moderator: true }) : was.id
      const dialog = deps.restore(meeting, id, was.leg, was.contact)
      const one = meeting.takeIn(was, dialog, id)
      if (moves) meeting.arrived(id)
      call(meeting, one, was)
    } catch (error) {
      meeting.log.error({ err: error, member: taken.id }, 'a member could not be taken over')
      return false
    }
    if (moves) await replication.end('meeting', taken.id)
    return true
  }

  /** Tells a client where its meeting is now, as soon as there is a way to it. */
  function call(meeting: Meeting, one: Participant, was: MemberSnapshot): void {
    const { dialog } = one
    const browser = one.profile === 'webrtc'
    const session = was.leg.dialog.session?.interval ?? deps.sessionExpires
    void seek.seek({
      leg: dialog.dialog,
      was: was.leg,
      log: meeting.log,
      seconds: browser ? browserSeconds : Math.min(session, phoneSeconds),
      ended: () => dialog.ended || !one.away || one.dialog !== dialog,
      ask(_state, way) {
        noteWay(dialog, way)
        // A page that comes anew subscribes anew.
        return browser && one.aware ? rejoin(one, dialog) : bringWhole(meeting, one, was, way)
      },
      lost: why => void dialog.bye({}, why),
    })
    dialog.once('ended', () => seek.forget(dialog.dialog))
  }

  /** Brings a member's media, and then what it follows: it is told the whole roster. */
  async function bringWhole(meeting: Meeting, one: Participant, was: MemberSnapshot, way: Way): Promise<number> {
    const status = await one.dialog.bring()
    for (const { dialog, ...followed } of status < 300 ? (was.follows ?? []) : []) {
      if (meeting.ended || followed.endsAt < Date.now()) continue
      await dialogs.install({ ...dialog, target: way.uri }, way.proxy)
      deps.follow(meeting, one.person.user, followed)
    }
    return status
  }

  /** A browser that knows docs/meetings.md comes by a new dialog: it needs a new connection for its media in any case. */
  async function rejoin(one: Participant, dialog: LocalDialog): Promise<number> {
    const headers = { 'Content-Type': meetingType }
    const { status } = await dialog.dialog.send('INFO', { headers, body: '{"rejoin":true}' })
    if (status >= 300) return status === 481 || status === 408 ? status : dialog.bring()
    const late = () => one.away && one.dialog === dialog && void dialog.bye({}, 'did not come back')
    const timer = setTimeout(late, browserSeconds * 1000).unref()
    dialog.once('ended', () => clearTimeout(timer))
    return status
  }

  const homeOf = (meeting: Meeting): Home => ({
    locate(replaces) {
      const leg = legOf(meeting, replaces)
      return leg && { leg }
    },
    isOurs: () => replication.owns('meeting', meeting.id),
  })

  function legOf(meeting: Meeting, replaces: Replaces): Leg | undefined {
    return meeting.people.find(({ dialog }) => dialog.dialog.isMeantBy(replaces))?.dialog.dialog
  }

  return {
    adopt,
    bring,
    letGo,
    async take(taken) {
      waiting.set(taken.id, taken)
      const { meeting: id } = readItem(taken.id)
      let meeting = await bring(id)
      // It came when the others had been looked for already.
      if (waiting.has(taken.id)) meeting = await bring(id)
      return meeting && homeOf(meeting)
    },
    async find(replaces) {
      await Promise.all(restoring.values())
      for (const meeting of deps.list()) if (legOf(meeting, replaces)) return homeOf(meeting)
      return undefined
    },
    close() {
      for (const stop of stops) stop()
      seek.close()
    },
  }
}
