import type { Message } from './sip.ts'

// Digits as SIP requests. They are older than RFC 4733 and no RFC has them, but desk phones and intercoms send them when
// they are told to, and two forms are in use: `application/dtmf-relay` with named lines, `application/dtmf` with the digit.

/** A pressed key. `ms` is how long. */
export interface Digit {
  digit: string
  ms: number
}

const usualMs = 160
const digits = /^[0-9A-D*#]$/

/** The digit that an INFO brings; undefined when it is about something else. */
export function readDigit(info: Message): Digit | undefined {
  const type = (info.get('Content-Type') ?? '').split(';', 1)[0]?.trim().toLowerCase()
  const body = (info.body ?? '').slice(0, 200)
  if (type !== 'application/dtmf-relay' && type !== 'application/dtmf') return undefined
  const lines = new Map(
    body.split(/\r?\n/).map(line => {
      const [name = '', value = ''] = line.split('=', 2)
      return [name.trim().toLowerCase(), value.trim()]
    }),
  )
  const signal = type === 'application/dtmf' && !lines.has('signal') ? body.trim() : lines.get('signal')
  const digit = asDigit(signal ?? '')
  if (digit === undefined) return undefined
  const ms = Number.parseInt(lines.get('duration') ?? '', 10)
  return { digit, ms: ms > 0 && ms <= 10_000 ? ms : usualMs }
}

/** The body of an INFO that presses a key, for phones that know no telephone events. */
export function writeDigit({ digit, ms }: Digit): { headers: Record<string, string>; body: string } {
  return {
    headers: { 'Content-Type': 'application/dtmf-relay' },
    body: `Signal=${digit}\r\nDuration=${Math.round(ms)}\r\n`,
  }
}

/** Some phones number `*` and `#` as RFC 4733 does. */
function asDigit(signal: string): string | undefined {
  const upper = signal.toUpperCase()
  if (upper === '10') return '*'
  if (upper === '11') return '#'
  return digits.test(upper) ? upper : undefined
}
