import type { CallResult } from '../events.ts'

/** How a call that was never answered ended, in one word, by the status its caller got. */
export function resultOf(status: number): CallResult {
  if (status === 486 || status === 600) return 'busy'
  if (status === 603) return 'declined'
  if (status === 408) return 'no-answer'
  if (status === 487) return 'cancelled'
  if (status === 480 || status === 430 || status === 503) return 'unavailable'
  if (status === 404 || status === 604) return 'not-found'
  if (status === 403) return 'forbidden'
  return 'failed'
}

/**
 * What a phone's final status means for its caller. A challenge is no answer for somebody who cannot answer it; a
 * phone that is gone (430, 503) is a person who cannot be reached now, not a server that fails; a 3xx that was not
 * followed must not send the caller to a place that we would not.
 */
export function asBranchStatus(status: number): number {
  if (status === 401 || status === 407 || status === 430 || status === 503 || status === 487) return 480
  if (status >= 300 && status < 400) return 480
  if (status === 422) return 480
  return status
}

// Within 4xx those that tell the caller what to change win (RFC 3261 section 16.7, step 6); a person's busy says more than
// a silent device.
const preferred = [401, 407, 415, 420, 484, 486, 488, 480, 404]

/** The best of the branches' final statuses (RFC 3261 section 16.7, step 6); 408 when there is none. */
export function bestOf(statuses: readonly number[]): number {
  const decisive = statuses.filter(status => status >= 600)
  const pool = decisive.length > 0 ? decisive : statuses
  const rank = (status: number) => {
    const place = preferred.indexOf(status)
    return Math.floor(status / 100) * 100 + (place === -1 ? preferred.length : place)
  }
  return pool.reduce((best, status) => (rank(status) < rank(best) ? status : best), pool[0] ?? 408)
}

/**
 * Whether the media that an SDP offers is held by its sender (RFC 3264 section 8.4; old phones say so by the address
 * 0.0.0.0, which for a browser only means that the candidates tell).
 */
export function isHeld(sdp: string): boolean {
  if (/^c=IN IP4 0\.0\.0\.0\s*$/m.test(sdp) && !sdp.includes('a=ice-ufrag:')) return true
  return /^a=(sendonly|inactive)\s*$/m.test(sdp) && !/^a=sendrecv\s*$/m.test(sdp)
}
