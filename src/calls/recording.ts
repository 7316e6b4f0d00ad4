import { setTimeout as wait } from 'node:timers/promises'
import { Refusal } from '../errors.ts'
import type { Logger } from '../log.ts'
import type { Media } from '../media/media.ts'
import { unavailable } from './anchor.ts'
import { type BringDeps, bring } from './bring.ts'
import type { Call } from './call.ts'
import type { Leg } from './leg.ts'
import type { RecordingWish, Tape } from './taping.ts'
import { tellRecording } from './telling.ts'

// Recording of a call of two: its media comes to this server, both hear the tone of consent, and then the tape runs until
// somebody ends it, the call ends, or a transfer changes who talks.

/** Who may have a call recorded (`calls.record`). */
export type RecordRule = 'never' | 'admins' | 'everybody'

/** Whether a party of a call with these roles may have it recorded. */
export function mayRecord(rule: RecordRule, roles: readonly string[]): boolean {
  return rule === 'everybody' || (rule === 'admins' && roles.includes('admin'))
}

export interface CallRecorderDeps extends BringDeps {
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
  /** Records on a call that came from another node, where both have heard the tone. */
  goOn(call: Call): void
  /** Ends it by somebody's wish, and does nothing when none is on. Throws Refusal. */
  end(call: Call, by: string | undefined): Promise<void>
  /** Ends it because the call does; never rejects. */
  stop(call: Call): Promise<void>
  /** `*9` begins and ends a recording, where its sender may. */
  press(call: Call, leg: Leg, digit: string): void
  /** The wish of a web phone that asks within its dialog, and hears there what became of it. */
  ask(call: Call, leg: Leg, on: boolean): void
  /** Whether this user may have its calls recorded. */
  may(user: string): Promise<boolean>
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

  async function may(user: string): Promise<boolean> {
    return mayRecord(rule, (await deps.find(user))?.roles ?? [])
  }

  async function demand(call: Call, by: string | undefined): Promise<void> {
    if (by !== undefined && !call.legs.some(({ party }) => party.user === by)) {
      throw new Refusal('no-such-call', 'there is no such call')
    }
    if (by === undefined ? mayRecord(rule, ['admin']) : await may(by)) return
    throw new Refusal('forbidden', `calls.record is '${rule}': this call may not be recorded`)
  }

  function tell(call: Call): void {
    for (const leg of call.ended ? [] : call.legs) tellRecording(leg, { recording: call.taping.on })
  }

  function changed(call: Call): void {
    call.changed('recording')
    tell(call)
  }

  async function start(call: Call, by: string | undefined): Promise<void> {
    await demand(call, by)
    if (call.taping.on) return
    const { record } = deps
    if (media === undefined || record === undefined) throw unavailable('This server records nothing')
    await bring(deps, call)
    begin(call, wanted => roll(call, media, record, wanted, false))
    call.log.info({ by: by ?? 'the administrator' }, 'recording begins')
  }

  function goOn(call: Call): void {
    const { record } = deps
    if (media === undefined || record === undefined || call.taping.on || call.ended) return
    begin(call, wanted => roll(call, media, record, wanted, true))
    call.log.info('recording goes on from another node')
  }

  function begin(call: Call, tapeIt: (wanted: () => boolean) => Promise<Tape | undefined>): void {
    const tape = call.taping.start(tapeIt)
    changed(call)
    void tape.then(error => {
      // Whoever hangs up during the tone has not been recorded.
      if (error === undefined || (call.ended && error instanceof Refusal)) return
      call.log.error({ err: error }, 'recording failed')
      changed(call)
    })
  }

  async function stop(call: Call): Promise<void> {
    if (!call.taping.on) return
    const kept = call.taping.stop().catch((error: unknown) => {
      call.log.error({ err: error }, 'what was recorded could not be kept')
    })
    tell(call)
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

  /** Does what a party wants within its call. */
  async function obey(call: Call, { party }: Leg, on: boolean): Promise<void> {
    try {
      await (on ? start(call, party.user) : end(call, party.user))
    } catch (error) {
      if (error instanceof Refusal) call.log.info({ by: party.user, why: error.message }, 'not recorded')
      else call.log.error({ err: error }, 'recording failed by a bug')
      const leg = call.legs.find(one => one.party === party)
      const refused = error instanceof Refusal ? error.code : 'server-error'
      if (leg && !call.ended) tellRecording(leg, { recording: call.taping.on, refused })
    }
  }

  return {
    start,
    goOn,
    end,
    stop,
    press(call, { party }, digit) {
      const leg = call.legs.find(one => one.party === party)
      if (leg === undefined || rule === 'never') return
      const star = stars.get(leg)
      if (digit === '*') return void stars.set(leg, now())
      stars.delete(leg)
      if (digit !== '9' || star === undefined || now() - star > pairMs) return
      void obey(call, leg, !call.taping.on)
    },
    ask: (call, leg, on) => void obey(call, leg, on),
    may,
    async close() {
      await Promise.all(stopping)
    },
  }
}

/** The tone that both hear, where they have not `heard` it, and then the tape with a soft beep now and then. */
async function roll(
  call: Call,
  media: Media,
  record: (wish: RecordingWish) => Promise<Tape>,
  wanted: () => boolean,
  heard: boolean,
): Promise<Tape | undefined> {
  const room = call.legs[0]?.end.room
  if (room === undefined) throw new Refusal('no-such-call', 'the call has ended')
  for (const { end, party } of call.legs) {
    if (end.leg !== undefined && end.room === room) await media.join(end.leg, room, { name: party.user })
  }
  if (!heard) {
    const tone = await media.play({ room }, 'recording')
    await Promise.race([tone.done, wait(longestToneMs, undefined, { ref: false })])
  }
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
