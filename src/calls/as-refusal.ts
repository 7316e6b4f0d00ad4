import { Refusal, type RefusalCode } from '../errors.ts'

const refusals: Record<number, RefusalCode> = {
  403: 'forbidden',
  404: 'not-found',
  408: 'request-timeout',
  415: 'unsupported-media',
  481: 'no-such-call',
  486: 'busy-here',
  487: 'request-terminated',
  488: 'not-acceptable-here',
  491: 'request-pending',
  600: 'busy-here',
  606: 'not-acceptable-here',
}

/** What a final response to an INVITE of ours means to who wanted it. */
export function asRefusal(status: number): Refusal {
  return new Refusal(refusals[status] ?? 'temporarily-unavailable', `answered ${status}`)
}
