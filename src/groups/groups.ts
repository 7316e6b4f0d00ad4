import { randomBytes } from 'node:crypto'
import type Srf from 'drachtio-srf'
import { type Party, reasonHeader } from '../calls/headers.ts'
import type { LocalDialog, LocalDialogs, LocalOptions } from '../calls/local.ts'
import type { Receiver } from '../calls/refer.ts'
import { calledUser } from '../calls/route.ts'
import type { Headers, Incoming, Reply, SrfPort } from '../calls/sip.ts'
import { atMost } from '../calls/survival.ts'
import type { MeetingsHere } from '../calls/takeover.ts'
import { type Replaces, readReplaces } from '../calls/transfer.ts'
import type { Config } from '../config/schema.ts'
import { Refusal } from '../errors.ts'
import type { Events } from '../events.ts'
import type { Logger } from '../log.ts'
import type { Media } from '../media/media.ts'
import { adHoc, contactOf, factory, made } from './addresses.ts'
import { demandSfu, mayBegin } from './admission.ts'
import { createBoards } from './boards.ts'
import { createFocus } from './focus.ts'
import { giveAll } from './giving.ts'
import { createLobby } from './lobby.ts'
import { Meeting } from './meeting.ts'
import type { MeetingAddress } from './meeting-deps.ts'
import { type MeetingView, viewOf } from './meeting-view.ts'
import { createOutliving, type OtherNodes } from './outliving.ts'
import { createPairs } from './pairs.ts'
import type { Person } from './person.ts'
import type { Recordings } from './recorder.ts'
import { createRinging } from './ringing.ts'
import type { Passed } from './seats.ts'
import type { MeetingSnapshot } from './snapshot.ts'
import type { GroupStore } from './store.ts'
import { mayOffer, weOffer } from './streams.ts'
import type { Action } from './wish.ts'

export type { MeetingView, MemberView } from './meeting-view.ts'

type Request = Srf.SrfRequest
type Response = Srf.SrfResponse

export interface GroupsDeps {
  srf: Srf
  dialogs: Pick<LocalDialogs, 'answer' | 'invite' | 'adopt' | 'locate' | 'restore'>
  media: Media
  store: GroupStore
  recordings: Recordings
  config: Config['groups']
  domain: string
  isOwn(host: string): boolean
  account(user: string): Promise<{ user: string; displayName: string; roles: readonly string[] } | undefined>
  /** The bindings that a GRUU of this domain stands for; undefined when it is none. */
  bindingsOfGruu(uri: string): Promise<readonly { aor: string }[] | undefined>
  /** Takes the far end out of the call in which `user` has that dialog, and makes it one with ourselves. Throws Refusal. */
  takeOut?(replaces: Replaces, user: string, options: LocalOptions): Promise<LocalDialog>
  /** Brings here what has that dialog, when its node is dead. Throws Refusal 503 while that lives. */
  recover?(replaces: Replaces): Promise<void>
  /** Lets meetings outlive this node; absent: it is by itself. */
  others?: OtherNodes | undefined
  events: Events
  log: Logger
  now?(): number
}

export interface Groups {
  /** Whether an INVITE or SUBSCRIBE is for a group, a meeting, or the address that makes meetings. */
  takes(req: Request): Promise<boolean>
  /** An INVITE that `takes` has found, of somebody who has proven to be `caller`. Throws Refusal while nothing is answered. */
  invite(req: Request, res: Response, caller: Party): Promise<void>
  /** A SUBSCRIBE for the roster. Throws Refusal: another event is 489, a stranger 403. */
  subscribe(req: Request, res: Response, caller: Party): Promise<void>
  /**
   * What the INVITE of a pair may pass on; undefined when it is no call between members (docs/meetings.md). Throws Refusal:
   * `temporarily-unavailable` for a pair that is not wanted any more, or not yet.
   */
  meshHeaders(req: { uri: string; get(name: string): string | undefined }, user: string): Promise<Headers | undefined>
  /** The sender of a request for a meeting here that another node has asked for proof already. */
  passed(req: Request): Passed | undefined
  /** Takes in who is transferred to a group or meeting; undefined for other addresses. */
  receiver(user: string): Promise<Receiver | undefined>
  list(): MeetingView[]
  /** Whether a meeting goes on at the address of a group, here or at another node. */
  isOn(group: string): Promise<boolean>
  /** Meetings whose dialogs other nodes had. */
  readonly here: MeetingsHere
  /** What an operator wants of a meeting. Throws Refusal: `not-found`. */
  act(meeting: string, action: Action): Promise<void>
  /** Begins nothing new until `undrain`, gives its meetings away, and waits until none is left, or that is called; how many go on then. */
  drain(limitMs: number): Promise<number>
  undrain(): void
  /** Ends all meetings. */
  close(): Promise<void>
}

// How long close() waits for clients to answer its BYEs, and for recordings to be kept.
const closeMs = 1000
const operator: Person = { user: '', displayName: '', moderator: true }
const tooBusy = () => new Refusal('too-busy', undefined, { headers: { 'Retry-After': '10' } })
const newId = () => randomBytes(4).toString('hex')

/** Groups and meetings: finds the meeting of an address, lets people in, and rings the others. */
export function createGroups(deps: GroupsDeps): Groups {
  const { media, dialogs, store, domain, isOwn, config, events, log, now = Date.now } = deps
  const srf = deps.srf as unknown as SrfPort
  /** By the user of their address. */
  const meetings = new Map<string, Meeting>()
  const boards = createBoards({
    ...{ srf, domain, most: config.most, log, isOn: user => meetings.has(user) },
    onSubscribed: keepFollower,
  })
  const lobby = createLobby({ media, now, bus: deps.others?.bus })
  const ringing = createRinging({ dialogs, person: (user, meeting) => personOf(user, meeting.address), options })
  const focus = createFocus({ ringing, isOwn, pull })
  const pairs = createPairs({ find: byItsId, others: deps.others })
  const { keeping, adoption, seats, giving } = createOutliving({
    ...{ others: deps.others, media, domain, events, log },
    ...{ find: byItsId, list: () => meetings.values(), at: user => meetings.get(user), accepts: () => !refuses },
    open: ({ user, displayName, group }, was) => meetings.get(user) ?? start({ user, displayName, group }, was),
    followed: boards.followed,
    follow: ({ address }, user, followed) => boards.of(address).goOn(followed, user),
    restore: (meeting, id, was, contact) => dialogs.restore(was, contact, options(meeting, id)),
  })
  const onElsewhere = events.on('elsewhere', ({ what, fact }) => {
    const user = what === 'groupStarted' || what === 'groupTaken' ? userOf({ uri: String(fact['group']) }) : undefined
    if (user !== undefined && !meetings.has(user)) boards.leave(user)
  })
  let refuses = false

  function options(meeting: Meeting, member: number): LocalOptions {
    return {
      contact: contactOf(meeting.address.user),
      headers: { 'Vaartha-Meeting': `${meeting.id};member=${member}` },
      label: { meeting: meeting.id, address: meeting.address.user },
      owns: () => keeping.owns(meeting.id),
      near: meeting.id,
      streams: weOffer,
      accepts: mayOffer,
    }
  }

  async function personOf(user: string, { group }: MeetingAddress): Promise<Person | undefined> {
    const account = await deps.account(user.toLowerCase())
    if (account === undefined) return undefined
    const moderator = account.roles.includes('admin') || group?.moderators.includes(account.user) === true
    return { user: account.user, displayName: account.displayName || account.user, moderator }
  }

  async function addressOf(user: string): Promise<MeetingAddress | undefined> {
    const going = meetings.get(user)
    if (going?.adHoc) return going.address
    const group = made.test(user) ? undefined : await store.get(user, domain)
    return group && { user: group.name, displayName: group.displayName || group.name, group }
  }

  /** The user that a request means here; undefined when it is for somebody else, or makes no sense. */
  function userOf(req: Pick<Request, 'uri'>): string | undefined {
    try {
      return calledUser(req.uri, isOwn).toLowerCase()
    } catch (error) {
      if (!(error instanceof Refusal)) throw error
      return undefined
    }
  }

  function start(address: MeetingAddress, was?: MeetingSnapshot, id = was?.id ?? newId()): Meeting {
    const meeting = new Meeting(
      {
        media,
        domain,
        limits: config,
        isGruu,
        record: wish => deps.recordings.begin(wish),
        board: boards.of(address),
        events,
        log,
        now,
        onEmpty: empty => {
          empty.end('empty').catch((error: unknown) => empty.log.error({ err: error }, 'ending a meeting failed'))
        },
        onEnded: forget,
        onDialog: focus.serve,
        keep: keeping.touch,
        owns: keeping.owns,
      },
      id,
      address,
      was,
    )
    meetings.set(address.user, meeting)
    if (was !== undefined) seats.hold(meeting)
    return meeting
  }

  /** The next one who calls the address begins another meeting. */
  function forget(meeting: Meeting): void {
    const { user } = meeting.address
    const ours = keeping.owns(meeting.id)
    if (ours) keeping.end(meeting)
    if (meetings.get(user) !== meeting) return
    meetings.delete(user)
    seats.free(meeting, ours)
    if (!ours) boards.leave(user)
    boards.over(meeting.address)
  }

  function keepFollower(address: string, user: string): void {
    const meeting = meetings.get(address)
    const one = meeting?.people.find(({ person }) => person.user === user)
    if (meeting && one) keeping.touch(meeting, one)
  }

  async function isGruu(uri: string, user: string): Promise<boolean> {
    const bindings = /;gr\b/.test(uri) ? await deps.bindingsOfGruu(uri) : undefined
    return bindings?.some(({ aor }) => aor === `sip:${user}@${domain}`) === true
  }

  async function invite(request: Request, response: Response, caller: Party): Promise<void> {
    const req = request as unknown as Incoming
    const res = response as unknown as Reply
    mayBegin(req, caller, isOwn)
    const replaced = findReplaced(req)
    if (replaced && keeping.owns(replaced.meeting.id)) return comeBack(req, res, caller, replaced)
    const user = userOf(req) ?? ''
    if (made.test(user) && !meetings.has(user) && (await seats.lead(user, req, caller.user))) return
    const address = user === factory ? adHoc(caller) : await addressOf(user)
    if (address === undefined) throw new Refusal('not-found')
    const person = await personOf(caller.user, address)
    if (person === undefined) throw new Refusal('forbidden')
    // Who goes takes in nobody, but knows where the meetings are that it has given away.
    const id = refuses ? undefined : newId()
    if (await seats.lead(address.user, req, caller.user, id)) return
    // The node that had the meeting may have died meanwhile.
    await recover(req)
    const back = findReplaced(req)
    if (back && keeping.owns(back.meeting.id)) return comeBack(req, res, caller, back)
    if (id === undefined) throw tooBusy()
    try {
      demandSfu(req, media)
    } catch (error) {
      seats.unused(address.user)
      throw error
    }
    await enter(address, person, id, common => dialogs.answer(req, res, caller, { ...common, streams: mayOffer }))
  }

  async function receiver(user: string): Promise<Receiver | undefined> {
    const address = await addressOf(user.toLowerCase())
    if (address === undefined) return undefined
    return async (who, adopt) => {
      const person = await personOf(who.user, address)
      if (person === undefined) throw new Refusal('forbidden')
      if (refuses) throw tooBusy()
      const id = newId()
      if ((await seats.take(address.user, id)) !== undefined) throw new Refusal('temporarily-unavailable')
      await new Promise<void>((resolve, reject) => {
        const answered = async (common: LocalOptions) => {
          const dialog = await adopt(common)
          resolve()
          return dialog
        }
        enter(address, person, id, answered).catch((error: unknown) => {
          log.info({ err: error, address: address.user, user: person.user }, 'a transfer did not come in')
          reject(error)
        })
      })
    }
  }

  /** Lets somebody into the meeting of an address, after the PIN where one is needed, and rings the others for the first one. */
  async function enter(
    address: MeetingAddress,
    person: Person,
    newId: string,
    answer: (common: LocalOptions) => Promise<LocalDialog>,
  ): Promise<void> {
    const going = meetings.get(address.user)
    const meeting = going ?? start(address, undefined, newId)
    const { group } = meeting.address
    let id: number
    try {
      id = meeting.reserve(person)
    } catch (error) {
      meeting.lookEmpty()
      throw error
    }
    try {
      const dialog = await answer(options(meeting, id))
      const isMember = group?.members.includes(person.user) || person.moderator
      const free = group === undefined || !group.pin || isMember
      const right = free || (await lobby.ask(dialog, pin => store.checkPin(group.name, domain, pin)))
      if (!right) return
      if (meeting.ended) return void (await dialog.bye(reasonHeader(200, 'The meeting is over')))
      await meeting.join(id, person, dialog, 'dialed-in')
    } finally {
      meeting.arrived(id)
    }
    if (going === undefined && !meeting.ended) await ringing.callMembers(meeting, person.displayName)
  }

  type Replaced = NonNullable<ReturnType<typeof findReplaced>>
  async function comeBack(req: Incoming, res: Reply, party: Party, { meeting, one }: Replaced): Promise<void> {
    demandSfu(req, media)
    if (one.person.user !== party.user) throw new Refusal('forbidden')
    const dialog = await dialogs.answer(req, res, party, { ...options(meeting, one.id), streams: mayOffer })
    await meeting.replace(one, dialog)
  }

  /** Looks for the dialog that a request is to take the place of in what another node has left. */
  async function recover(req: { get(name: string): string | undefined }): Promise<void> {
    const replaces = deps.others && readReplaces(req.get('Replaces') ?? '')
    if (replaces && !dialogs.locate(replaces)) await deps.recover?.(replaces)
  }

  function findReplaced(req: { get(name: string): string | undefined }) {
    const value = req.get('Replaces')
    const replaces = value === undefined ? undefined : readReplaces(value)
    const dialog = replaces && dialogs.locate(replaces)
    for (const meeting of dialog ? meetings.values() : []) {
      const one = meeting.byDialog(dialog!)
      if (one) return { meeting, one }
    }
    return undefined
  }

  async function pull(meeting: Meeting, replaces: Replaces, user: string): Promise<void> {
    if (deps.takeOut === undefined) throw new Refusal('no-such-call')
    const id = meeting.reserve(operator)
    try {
      const dialog = await deps.takeOut(replaces, user, options(meeting, id))
      const person = await personOf(dialog.party.user, meeting.address)
      if (person === undefined) await dialog.bye(reasonHeader(403, 'Forbidden'))
      else await meeting.join(id, person, dialog, 'dialed-out')
    } finally {
      meeting.arrived(id)
    }
  }

  async function subscribe(request: Request, response: Response, caller: Party): Promise<void> {
    const event = (request.get('Event') ?? '').split(';', 1)[0]!.trim().toLowerCase()
    if (event !== 'conference') {
      throw new Refusal('bad-event', undefined, { headers: { 'Allow-Events': 'conference, refer' } })
    }
    const req = request as unknown as Incoming
    const user = userOf(req) ?? ''
    if ((made.test(user) || (await store.has(user, domain))) && (await seats.lead(user, req, caller.user))) return
    const address = await addressOf(user)
    if (address === undefined) throw new Refusal('not-found')
    const person = await personOf(caller.user, address)
    const isIn = meetings.get(address.user)?.has(caller.user) === true
    const isMember = address.group?.members.includes(caller.user) === true
    if (person === undefined || !(isIn || isMember || person.moderator)) throw new Refusal('forbidden')
    boards.subscribe(address, req, response as unknown as Reply, caller.user)
  }

  function byItsId(id: string): Meeting | undefined {
    return [...meetings.values()].find(meeting => meeting.id === id)
  }

  function byId(id: string): Meeting {
    const found = byItsId(id)
    if (found === undefined) throw new Refusal('not-found', 'there is no such meeting')
    return found
  }

  return {
    async takes(req) {
      const user = userOf(req)
      const isGroup = user !== undefined && (await store.has(user, domain))
      const known = user === factory || isGroup || (user !== undefined && meetings.has(user))
      const elsewhere = (isGroup || made.test(user ?? '')) && (await seats.find(user!)) !== undefined
      if (elsewhere) return true
      await recover(req)
      return known || (req.get('Replaces') !== undefined && findReplaced(req) !== undefined)
    },
    invite,
    subscribe,
    receiver,
    meshHeaders: pairs.headers,
    passed: request => seats.passed(request as unknown as Incoming),
    list: () => [...meetings.values()].map(viewOf),
    isOn: async user => meetings.has(user) || (await seats.find(user)) !== undefined,
    here: {
      take: async taken => adoption?.take(taken),
      find: async replaces => adoption?.find(replaces),
    },
    act: async (id, action) => focus.act(byId(id), action, operator),
    async drain(limitMs) {
      refuses = true
      return await giveAll(giving, meetings, () => refuses, limitMs)
    },
    undrain: () => void (refuses = false),
    async close() {
      refuses = true
      for (const stop of [onElsewhere, lobby.close, pairs.close, seats.close, giving.close]) stop()
      adoption?.close()
      await atMost(closeMs, Promise.all([...meetings.values()].map(meeting => meeting.end('the server stops'))))
      boards.close()
    },
  }
}
