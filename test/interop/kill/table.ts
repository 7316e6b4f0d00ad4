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

export function lineOf({ fault, state, left, taken, gap, part, lost, next }: Result): string {
  const silent =
    part !== undefined
      ? `${Math.round(part * 100)} % of the sound`
      : gap !== undefined && gap < 0.3
        ? 'none'
        : seconds(gap)
  return `| ${fault} | ${state} | 1 | ${left ? 1 : 0} | ${seconds(taken)} | ${silent} | ${lost} | ${seconds(next)} |`
}

const head = [
  '| what breaks | state of the call | calls | left | taken over | audio gap | registrations lost | new call has passed |',
  '| --- | --- | --- | --- | --- | --- | --- | --- |',
]

/** Writes the table anew. */
export function writeTable(results: readonly Result[]): void {
  const file = join(resolve(import.meta.dirname, '../../..'), 'docs/reliability.md')
  const text = readFileSync(file, 'utf8')
  const [start, end] = ['<!-- matrix -->\n', '\n<!-- end of matrix -->']
  const [from, to] = [text.indexOf(start), text.indexOf(end)]
  assert.ok(from >= 0 && to > from)
  writeFileSync(
    file,
    `${text.slice(0, from + start.length)}${[...head, ...results.map(lineOf)].join('\n')}${text.slice(to)}`,
  )
}
