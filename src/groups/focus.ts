import { allow } from '../calls/headers.ts'
import type { LocalDialog } from '../calls/local.ts'
import { createTeller } from '../calls/refer.ts'
import { type Incoming, type Message, type Reply, reply } from '../calls/sip.ts'
import { type Replaces, readRefer, referAnswer } from '../calls/transfer.ts'
import { Refusal } from '../errors.ts'
import { type Command, press } from './keys.ts'
import type { Meeting } from './meeting.ts'
import type { Participant } from './participant.ts'
import type { Person } from './person.ts'
import type { Ringing } from './ringing.ts'
import { type Action, meetingType, readWish } from './wish.ts'

// What participants ask of the focus inside their dialogs: by INFO, by REFER (RFC 4579) and by DTMF.

export interface FocusDeps {
  ringing: Ringing
  isOwn(host: string): boolean
  /** Brings the far end of that dialog of `user`'s into the meeting. Throws Refusal: there is no such call. */
  pull(meeting: Meeting, replaces: Replaces, user: string): Promise<void>
}

export interface Focus {
  /** Serves a participant's dialog from now on. */
  serve(meeting: Meeting, one: Participant): void
  /** Does what a moderator wants. Throws Refusal: `not-found` for no such member. */
  act(meeting: Meeting, action: Action, by: Person): Promise<void>
}

export function createFocus({ ringing, isOwn, pull }: FocusDeps): Focus {
  function serve(meeting: Meeting, one: Participant): void {
    const { dialog } = one
    dialog.on('request', (req, res) => {
      answer(meeting, one, dialog, req, res).catch((error: unknown) => {
        if (!(error instanceof Refusal)) meeting.log.error({ err: error, method: req.method }, 'request failed')
        reply(res, error instanceof Refusal ? error.sipStatus : 500)
      })
    })
    dialog.on('dtmf', ({ digit }) => {
      const { keys, command } = press(one.keys, digit, Date.now())
      one.keys = keys
      if (command) byKey(meeting, one, command)
    })
  }

  async function answer(
    meeting: Meeting,
    one: Participant,
    dialog: LocalDialog,
    req: Incoming,
    res: Reply,
  ): Promise<void> {
    await one.ready
    if (req.method === 'INFO') {
      if (!isMeetingMessage(req)) return reply(res, req.body ? 415 : 200, { headers: { Accept: meetingType } })
      await onInfo(meeting, one, req.body ?? '')
      return reply(res, 200)
    }
    if (req.method === 'REFER') return onRefer(meeting, one, dialog, req, res)
    // Subscriptions have dialogs of their own (RFC 6665 section 4.5.2).
    reply(res, req.method === 'SUBSCRIBE' ? 403 : 405, { headers: { Allow: allow } })
  }

  async function onInfo(meeting: Meeting, one: Participant, body: string): Promise<void> {
    const wish = readWish(body)
    if ('report' in wish) return meeting.shape.report(one.id, wish.report)
    if ('mesh' in wish) return meeting.setMesh(one, wish.mesh)
    const { action } = wish
    const own = (action.do === 'mute' || action.do === 'unmute') && action.member === one.id
    const free = own || (action.do === 'invite' && !meeting.locked)
    if (!free && !mayModerate(meeting, one.person)) throw new Refusal('forbidden', 'only moderators may')
    await act(meeting, action, one.person)
  }

  async function act(meeting: Meeting, action: Action, by: Person): Promise<void> {
    switch (action.do) {
      case 'mute':
      case 'unmute':
      case 'remove': {
        if (meeting.member(action.member) === undefined) throw new Refusal('not-found', 'there is no such member')
        if (action.do === 'remove') return meeting.remove(action.member)
        return meeting.mute(action.member, action.do === 'mute')
      }
      case 'lock':
      case 'unlock':
        return meeting.lock(action.do === 'lock', by.user)
      case 'record':
        return meeting.record(by.user)
      case 'stop-recording':
        return meeting.stopRecording()
      case 'invite':
        return void callQuietly(meeting, action.user, by)
      case 'end':
        // Who asked for it gets its answer first.
        return void setImmediate(() => void meeting.end('ended by a moderator'))
    }
  }

  async function callQuietly(meeting: Meeting, user: string, by: Person): Promise<void> {
    try {
      await ringing.call(meeting, user, { by: by.displayName })
    } catch (error) {
      if (error instanceof Refusal) meeting.log.info({ user, code: error.code }, 'invited in vain')
      else meeting.log.error({ err: error, user }, 'inviting failed')
    }
  }

  function byKey(meeting: Meeting, one: Participant, command: Command): void {
    if (command === 'mute') return run(meeting, () => meeting.mute(one.id, !one.muted))
    if (command === 'count') return meeting.playTo(one, { count: meeting.people.length })
    if (!mayModerate(meeting, one.person)) return meeting.playTo(one, 'busy')
    switch (command) {
      case 'lock':
        meeting.lock(!meeting.locked, one.person.user)
        return meeting.playTo(one, meeting.locked ? 'muted' : 'unmuted')
      case 'record':
        return meeting.recording ? meeting.stopRecording() : meeting.record(one.person.user)
      case 'mute-others': {
        const others = meeting.people.filter(other => other !== one)
        const muted = others.some(other => !other.muted)
        return run(meeting, () => Promise.all(others.map(other => meeting.mute(other.id, muted))))
      }
      case 'end':
        return run(meeting, () => meeting.end('ended by a moderator'))
    }
  }

  function run(meeting: Meeting, work: () => Promise<unknown>): void {
    work().catch((error: unknown) => meeting.log.error({ err: error }, 'a command by keys failed'))
  }

  function onRefer(meeting: Meeting, one: Participant, dialog: LocalDialog, req: Incoming, res: Reply): void {
    const remove = removes(req)
    const wish = readRefer(remove === undefined ? req : withReferTo(req, remove), isOwn)
    if (remove !== undefined && !mayModerate(meeting, one.person)) throw new Refusal('forbidden')
    const adds = remove === undefined && wish.replaces === undefined
    if (adds && meeting.locked && !mayModerate(meeting, one.person)) throw new Refusal('forbidden')
    reply(res, 202, { headers: referAnswer(wish, req) })
    const tell = createTeller(dialog.dialog, req, wish.silent)
    void tell(100)
    const user = (wish.user ?? '').toLowerCase()
    const work = async () => {
      if (remove !== undefined) {
        const gone = meeting.people.filter(other => other.person.user === user)
        if (gone.length === 0) throw new Refusal('not-found')
        for (const other of gone) meeting.remove(other.id)
      } else if (wish.replaces) await pull(meeting, wish.replaces, one.person.user)
      else await ringing.call(meeting, user, { by: one.person.displayName, onRinging: () => void tell(180) })
    }
    work().then(
      () => tell(200),
      (error: unknown) => {
        if (!(error instanceof Refusal)) meeting.log.error({ err: error }, 'REFER failed')
        return tell(error instanceof Refusal ? error.sipStatus : 500)
      },
    )
  }

  return { serve, act }
}

/** In an ad-hoc meeting everybody is a moderator. */
function mayModerate(meeting: Meeting, person: Person): boolean {
  return meeting.adHoc || person.moderator
}

function isMeetingMessage(req: Message): boolean {
  return (req.get('Content-Type') ?? '').split(';', 1)[0]!.trim().toLowerCase() === meetingType
}

/** The Refer-To of a REFER that removes somebody (RFC 4579 section 5.11), without its method. */
function removes(req: Message): string | undefined {
  const value = req.get('Refer-To') ?? ''
  const without = value.replace(/;method=BYE(?=[;>?]|$)/i, '')
  return without === value ? undefined : without
}

function withReferTo(req: Message, value: string): Message {
  return {
    get: name => (name === 'Refer-To' ? value : req.get(name)),
    has: name => req.has(name),
    body: req.body,
  }
}
