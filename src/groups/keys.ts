// What phones say by DTMF (docs/meetings.md), as pure steps from digit to digit.

export type Command = 'mute' | 'count' | 'lock' | 'mute-others' | 'record' | 'end'

const commands: Readonly<Record<string, Command>> = {
  '6': 'mute',
  '1': 'count',
  '7': 'lock',
  '4': 'mute-others',
  '9': 'record',
  '0': 'end',
}
const pairMs = 3000

/** When `*` was pressed last; undefined: it was not. */
export type Keys = number | undefined

/** The next digit: a `*` waits three seconds for the key that belongs to it. */
export function press(keys: Keys, digit: string, now: number): { keys: Keys; command?: Command } {
  if (digit === '*') return { keys: now }
  const command = keys !== undefined && now - keys <= pairMs ? commands[digit] : undefined
  return command === undefined ? { keys: undefined } : { keys: undefined, command }
}

const longestPin = 12

/** The digits of a PIN so far. `#` ends it; `*` begins it anew. */
export function pressPin(typed: string, digit: string): { typed: string; pin?: string } {
  if (digit === '*') return { typed: '' }
  if (digit === '#') return { typed: '', pin: typed }
  if (!/^\d$/.test(digit)) return { typed }
  // More digits than any PIN has are kept wrong, not cut down to a right one.
  return { typed: typed.length > longestPin ? typed : typed + digit }
}
