// Session timers (RFC 4028) as pure decisions. `local` and `remote` say who refreshes, seen from us.

export interface SessionExpires {
  /** Seconds. */
  interval: number
  refresher: 'uac' | 'uas' | undefined
}

export interface Session {
  /** Seconds. */
  interval: number
  refresher: 'local' | 'remote'
}

/** Reads a Session-Expires value; undefined when it is malformed. */
export function parseSessionExpires(value: string | undefined): SessionExpires | undefined {
  if (value === undefined) return undefined
  const [seconds = '', ...params] = value.split(';', 8)
  if (!/^\s*\d{1,9}\s*$/.test(seconds)) return undefined
  const refresher = params.map(p => p.trim().toLowerCase()).find(p => p.startsWith('refresher='))
  const role = refresher?.slice('refresher='.length)
  return { interval: Number(seconds), refresher: role === 'uac' || role === 'uas' ? role : undefined }
}

/** True when a request asks for a shorter session than we allow: the answer is 422 with Min-SE (section 6). */
export function isTooBrief(asked: string | undefined, supportsTimer: boolean, minSe: number): boolean {
  const wish = parseSessionExpires(asked)
  return supportsTimer && wish !== undefined && wish.interval < minSe
}

export interface Grant {
  session: Session
  /** Session-Expires value of our 2xx. */
  header: string
  /** Whether the 2xx must carry `Require: timer` (section 9: the peer refreshes). */
  require: boolean
}

/**
 * What our 2xx says about the session (section 9, table 2): the application's own Session-Expires wins, else the
 * request's wish is granted. Undefined: no session timer.
 */
export function grantSession(
  asked: string | undefined,
  supportsTimer: boolean,
  ours: string | undefined,
  minSe: number,
): Grant | undefined {
  const wish = parseSessionExpires(asked)
  const chosen = parseSessionExpires(ours) ?? wish
  if (chosen === undefined) return undefined
  const interval = Math.max(chosen.interval, minSe)
  // A peer that does not know session timers cannot be asked to refresh.
  const role = supportsTimer ? (wish?.refresher ?? chosen.refresher ?? 'uac') : 'uas'
  return {
    session: { interval, refresher: role === 'uac' ? 'remote' : 'local' },
    header: `${interval};refresher=${role}`,
    require: role === 'uac',
  }
}

/** What a 2xx to our request means (section 7.2). Without a Session-Expires in it the duty is ours if we had asked. */
export function acceptedSession(asked: string | undefined, answered: string | undefined): Session | undefined {
  const given = parseSessionExpires(answered)
  if (given) return { interval: given.interval, refresher: given.refresher === 'uas' ? 'remote' : 'local' }
  const wish = parseSessionExpires(asked)
  return wish && { interval: wish.interval, refresher: 'local' }
}

// What a timer of Node can count; a longer one would fire at once.
const mostSeconds = 2_000_000

/**
 * Seconds from now until our next step (section 10): refresh at half the interval, or give up slightly before the end:
 * 32 seconds or a third of the interval, whichever is less.
 */
export function nextStep(session: Session): { refreshAfter?: number; expireAfter: number } {
  const interval = Math.min(session.interval, mostSeconds)
  const expireAfter = interval - Math.min(32, interval / 3)
  return session.refresher === 'local' ? { refreshAfter: interval / 2, expireAfter } : { expireAfter }
}

/** True when a comma-separated option list (Supported, Require, Allow) names `option`. */
export function lists(values: readonly string[], option: string): boolean {
  return values.some(value => value.split(',').some(word => word.trim().toLowerCase() === option))
}
