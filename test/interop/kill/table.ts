import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'

// The table of docs/reliability.md.

export interface Result {
  fault: string
  state: string
  /** Whether the call was there to its end. */
  left: boolean
  /** What did not go, when it is not left. */
  why: Error | undefined
  /** Seconds until the other node said that the call is its own; undefined where it stays. */
  taken: number | undefined
  /** Seconds; undefined where no sound is judged. */
  gap: number | undefined
  /** Which part of the sound was missing, where packets get lost. */
  part: number | undefined
  lost: number
  /** Seconds until a new call has passed. */
  next: number
}

const seconds = (value: number | undefined) => (value === undefined ? '–' : `${value.toFixed(1)} s`)

function silence({ part, gap }: Result): string {
  if (part !== undefined) return `${Math.round(part * 100)} % of the sound`
  return gap !== undefined && gap < 0.3 ? 'none' : seconds(gap)
}

/** The columns after the state and the calls; those that are the same stand in one line of the table. */
const columnsOf = (row: Result) => [seconds(row.taken), silence(row), String(row.lost), seconds(row.next)]

const line = (...columns: readonly (string | number)[]) => `| ${columns.join(' | ')} |`

export const lineOf = (row: Result): string => line(row.fault, row.state, 1, row.left ? 1 : 0, ...columnsOf(row))

const head = [
  'what breaks',
  'state of the call',
  'calls before',
  'calls surviving',
  'taken over after',
  'audio gap',
  'registrations lost',
  'new call passes after',
]

function linesOf(results: readonly Result[]): string[] {
  const same = Map.groupBy(results, row => [row.fault, row.left, ...columnsOf(row)].join('|'))
  return [...same.values()].map(rows => {
    const [{ fault, left }] = rows as [Result]
    const states = rows.map(({ state }) => state).join(', ')
    return line(fault, states, rows.length, left ? rows.length : 0, ...columnsOf(rows[0]!))
  })
}

/** Writes the table anew. */
export function writeTable(results: readonly Result[]): void {
  const file = join(resolve(import.meta.dirname, '../../..'), 'docs/reliability.md')
  const text = readFileSync(file, 'utf8')
  const [start, end] = ['<!-- matrix -->\n', '\n<!-- end of matrix -->']
  const [from, to] = [text.indexOf(start), text.indexOf(end)]
  assert.ok(from >= 0 && to > from)
  writeFileSync(
    file,
    `${text.slice(0, from + start.length)}${[line(...head), line(...head.map(() => '---')), ...linesOf(results)].join('\n')}${text.slice(to)}`,
  )
}
