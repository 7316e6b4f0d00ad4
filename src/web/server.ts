import { answerChallenge, realmOf } from './digest.ts'
import type { Profile } from './profiles.ts'

// What the page asks of the server that it came from, over HTTP.

export interface Hello {
  name: string
  domain: string
  version: string
  securePort: number | null
  ownAuthority: boolean
  /** `host:port` of HTTPS of the other nodes. */
  others: string[]
}

export interface Person {
  user: string
  name: string
  online: boolean
  group: boolean
}

export interface Past {
  from: string
  to: string
  started: string
  answered?: string
  seconds: number
  result: string
}

export interface Invited {
  user: string
  domain: string
  displayName: string
  ha1: string
}

export interface SignedIn {
  user: string
  displayName: string
  /** May have its calls recorded. */
  mayRecord: boolean
}

/** An answer that is not a success; `status` 0 when there was none. */
export class Failure extends Error {
  readonly status: number

  constructor(status: number, message: string) {
    super(message)
    this.status = status
  }
}

async function ask<T>(path: string, method = 'GET', body?: unknown): Promise<T> {
  let answer: Response
  try {
    answer = await fetch(path, {
      method,
      ...(body === undefined ? {} : { headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) }),
    })
  } catch (error) {
    throw new Failure(0, String(error))
  }
  if (answer.status === 204) return undefined as T
  const content: unknown = await answer.json().catch(() => undefined)
  if (!answer.ok) throw new Failure(answer.status, (content as { message?: string })?.message ?? answer.statusText)
  return content as T
}

export const hello = () => ask<Hello>('/api/phone')
export const people = () => ask<Person[]>('/api/people')
export const history = () => ask<Past[]>('/api/phone/history')
export const redeem = (token: string) => ask<Invited>('/api/invitations/redeem', 'POST', { token })
export const signOut = () => ask<void>('/api/phone/session', 'DELETE')

const path = '/api/phone/session'

const challenge = async () => (await ask<{ challenge: string }>(path)).challenge

/** The realm that passwords are bound to here. */
export async function realm(): Promise<string> {
  return realmOf(await challenge())
}

/** Proves that this is `user` and opens a session. Throws Failure: 401 for a wrong name or password, 403 after too many. */
export async function signIn(who: Pick<Profile, 'user' | 'ha1'>): Promise<SignedIn> {
  const cnonce = Math.random().toString(36).slice(2)
  const proof = answerChallenge(await challenge(), who, { method: 'POST', uri: path, cnonce })
  return ask(path, 'POST', { proof })
}
