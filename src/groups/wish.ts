import { Refusal } from '../errors.ts'
import type { Report } from './mesh.ts'

// What clients say to the focus in the body of an INFO (docs/meetings.md, Messages in the dialog).

export const meetingType = 'application/vaartha-meeting+json'
const mostBytes = 4096
const mostIds = 64

export type Action =
  | { do: 'mute' | 'unmute' | 'remove'; member: number }
  | { do: 'lock' | 'unlock' | 'record' | 'stop-recording' | 'end' }
  | { do: 'invite'; user: string }

export type Wish = { report: Report } | { mesh: boolean } | { action: Action }

const forMember = new Set(['mute', 'unmute', 'remove'])
const forAll = new Set(['lock', 'unlock', 'record', 'stop-recording', 'end'])

/** Reads a body. Throws Refusal('bad-request') for what makes no sense. */
export function readWish(body: string): Wish {
  const wrong = (cause?: unknown) => new Refusal('bad-request', 'this is no message to a meeting', { cause })
  if (body.length > mostBytes) throw wrong()
  let value: unknown
  try {
    value = JSON.parse(body)
  } catch (error) {
    throw wrong(error)
  }
  if (typeof value !== 'object' || value === null) throw wrong()
  const wish = value as Record<string, unknown>
  if (typeof wish['mesh'] === 'boolean') return { mesh: wish['mesh'] }
  const { epoch, connected = [], failed = [], ready = false, do: what, member, user } = wish
  if (isCount(epoch)) {
    const lists = [connected, failed].map(list => (Array.isArray(list) && list.length <= mostIds ? list : undefined))
    const [yes, no] = lists
    if (yes === undefined || no === undefined || ![...yes, ...no].every(isCount)) throw wrong()
    return { report: { epoch, connected: new Set(yes), failed: new Set(no), ready: ready === true } }
  }
  if (typeof what !== 'string') throw wrong()
  if (forMember.has(what) && isCount(member)) return { action: { do: what, member } as Action }
  if (forAll.has(what)) return { action: { do: what } as Action }
  if (what === 'invite' && typeof user === 'string' && user !== '' && user.length <= 64) {
    return { action: { do: what, user } }
  }
  throw wrong()
}

function isCount(value: unknown): value is number {
  return Number.isInteger(value) && (value as number) >= 0
}
