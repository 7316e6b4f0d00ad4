import { setTimeout as wait } from 'node:timers/promises'
import { Refusal } from '../errors.ts'
import type { Logger } from '../log.ts'
import type { Media } from '../media/media.ts'
import { unavailable } from './anchor.ts'
import { enter } from './anchored.ts'
import type { Call } from './call.ts'
import type { Leg } from './leg.ts'
import { isAnchored } from './renegotiate.ts'
import type { RecordingWish, Tape } from './taping.ts'

// Recording of a call of two: its media comes to this server, both hear the tone of consent, and then the tape runs until
// somebody ends it, the call ends, or a transfer changes who talks.

/** Who may have a call recorded (`calls.record`). */
export type RecordRule = 'never' | 'admins' | 'everybody'

/** Whether a party of a call with these roles may have it recorded. */
export function mayRecord(rule: RecordRule, roles: readonly string[]): boolean {
  return rule === 'everybody' || (rule === 'admins' && roles.includes('admin'))
}

export interface CallRecorderDeps {
  rule: RecordRule
  media?: Media | undefined
  record?(wish: RecordingWish): Promise<Tape>
  find(user: string): MaybePromise<{ roles?: readonly string[] } | undefined>
  log: Logger
  now(): number
}

type MaybePromise<T> = T | Promise<T>

export interface CallRecorder {
  /** Resolves when the call's media passes this server: the tone follows, and then the tape. Throws Refusal. */
  start(call: Call, by: string | undefined): Promise<void>
  /** Ends it by somebody's wish, and does nothing when none is on. Throws Refusal. */
  end(call: Call, by: string | undefined): Promise<void>
  /** Ends it because the call does; never rejects. */
  stop(call: Call): Promise<void>
  /** `*9` begins and ends a recording, where its sender may. */
  press(call: Call, leg: Leg, digit: string): void
  /** Resolves when all that was recorded is kept. */
  close(): Promise<void>
}

// Both keys belong together when they come within this time, as in meetings.
const pairMs = 3000
// The tone of consent is shorter.
const longestToneMs = 5000

export function createCallRecorder(deps: CallRecorderDeps): CallRecorder {
  const { rule, media, now } = deps
  const stars = new WeakMap<Leg, number>()
  const stopping = new Set<Promise<void>>()

  async function demand(call: Call, by: string | undefined): Promise<void> {
    if (by !== undefined && !call.legs.some(({ party }) => party.user === by)) {
      throw new Refusal('no-such-call', 'there is no such call')
    }
    const roles = by === undefined ? ['admin'] : ((await deps.find(by))?.roles ?? [])
    if (mayRecord(rule, roles)) return
    throw new Refusal('forbidden', `calls.record is '${rule}': this call may not be recorded`)
  }

  async function start(call: Call, by: string | undefined): Promise<void> {
    await demand(call, by)
    if (call.taping.on) return
    const { record } = deps
    if (media === undefined || record === undefined) throw unavailable('This server records nothing')
    await bring(call)
    const tape = call.taping.start(wanted => roll(call, media, record, wanted))
    call.changed('recording')
    call.log.info({ by: by ?? 'the administrator' }, 'recording begins')
    void tape.then(error => {
      // Whoever hangs up during the tone has not been recorded.
      if (error === undefined || (call.ended && error instanceof Refusal)) return
      call.log.error({ err: error }, 'recording failed')
      call.changed('recording')
    })
  }

  async function stop(call: Call): Promise<void> {
    if (!call.taping.on) return
    const kept = call.taping.stop().catch((error: unknown) => {
      call.log.error({ err: error }, 'what was recorded could not be kept')
    })
    stopping.add(kept)
    await kept
    stopping.delete(kept)
  }

  async function end(call: Call, by: string | undefined): Promise<void> {
    await demand(call, by)
    if (call.moving) throw new Refusal('request-pending', 'the recording is just beginning; try again in a moment')
    if (!call.taping.on) return
    call.log.info({ by: by ?? 'the administrator' }, 'recording ends')
    const stopped = stop(call)
    call.changed('recording')
    await stopped
  }

  return {
    start,
    end,
    stop,
    press(call, { party }, digit) {
      const leg = call.legs.find(one => one.party === party)
      if (leg === undefined || rule === 'never') return
      const star = stars.get(leg)
      if (digit === '*') return void stars.set(leg, now())
      stars.delete(leg)
      if (digit !== '9' || star === undefined || now() - star > pairMs) return
      const done = call.taping.on ? end(call, party.user) : start(call, party.user)
      done.catch((error: unknown) => {
        if (error instanceof Refusal) call.log.info({ by: party.user, why: error.message }, 'not recorded')
        else call.log.error({ err: error }, 'recording failed by a bug')
      })
    },
    async close() {
      await Promise.all(stopping)
    },
  }
}

/** Brings a direct call of two phones to this server, both ends one after the other; one that cannot follow leaves it as it was. Throws Refusal. */
async function bring(call: Call): Promise<void> {
  const [one, other] = call.legs
  if (call.state !== 'answered' || one === undefined || other === undefined) {
    throw new Refusal('request-pending', 'the call is not answered yet')
  }
  if (call.moving || call.leaving || call.coming) throw new Refusal('request-pending', 'the call is just changing')
  if (isAnchored(one, other)) return
  if (call.held) throw new Refusal('request-pending', 'the call is on hold')
  // Two browsers come to the server only when one of them asks (see renegotiate.ts); a phone and a browser are here always.
  if (one.end.profile === 'webrtc' || other.end.profile === 'webrtc') {
    throw unavailable("Two browsers talk directly: with calls.browserMedia 'relay' their next call can be recorded")
  }
  call.moving = true
  try {
    await move(call, one, other)
  } finally {
    call.moving = false
  }
}

async function move(call: Call, one: Leg, other: Leg): Promise<void> {
  const before = [one.localSdp, other.localSdp] as const
  try {
    await follow(call, one, other)
    await follow(call, other, one)
    await call.anchor.connect(one.end, other.end)
    if (call.ended) throw new Refusal('no-such-call', 'the call has ended')
    call.log.info('media moves from the direct way to this server')
  } catch (error) {
    const moved = [one, other].filter(leg => leg.end.leg !== undefined && !leg.ended)
    for (const leg of moved) {
      leg.end.release()
      // Who has followed already gets back what it had.
      await leg.offer(before[leg === one ? 0 : 1], { 'Content-Type': 'application/sdp' })
    }
    throw error
  }
}

async function follow(call: Call, leg: Leg, partner: Leg): Promise<void> {
  const status = await enter(call, leg, partner.end, {})
  if (call.ended) throw new Refusal('no-such-call', 'the call has ended')
  if (status < 300) return
  if (status === 481 || status === 408) {
    call.end({ status: 480, reason: `the connection of ${leg.party.user} was lost` })
  }
  throw new Refusal('not-acceptable-here', `${leg.party.user} did not follow to this server (${status})`)
}

/** The tone that both hear, and then the tape with a soft beep now and then. */
async function roll(
  call: Call,
  media: Media,
  record: (wish: RecordingWish) => Promise<Tape>,
  wanted: () => boolean,
): Promise<Tape | undefined> {
  const room = call.legs[0]?.end.room
  if (room === undefined) throw new Refusal('no-such-call', 'the call has ended')
  for (const { end, party } of call.legs) {
    if (end.leg !== undefined && end.room === room) await media.join(end.leg, room, { name: party.user })
  }
  const tone = await media.play({ room }, 'recording')
  await Promise.race([tone.done, wait(longestToneMs, undefined, { ref: false })])
  if (!wanted()) return undefined
  const people = new Set([call.from, call.to])
  const tape = await record({ room, meeting: call.id, address: call.to, people })
  try {
    const beat = await media.play({ room }, 'still-recording', { loop: true })
    return {
      stop() {
        beat.stop()
        return tape.stop()
      },
    }
  } catch (error) {
    await tape.stop()
    throw error
  }
}
