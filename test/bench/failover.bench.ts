import { adoption } from './support/failover-adopt.ts'
import { costs } from './support/failover-cost.ts'
import { gap } from './support/failover-gap.ts'
import { room } from './support/failover-room.ts'
import { writeSection } from './support/page.ts'

// What it costs that calls outlive their node, and what is noticed when it is killed: `--only cost|gap|adopt|room`, several
// with commas between. `--write` puts the tables into docs/benchmarks.md, `--quick` tries the bench itself.

const options = process.argv.slice(2)
const quick = options.includes('--quick')
const at = options.indexOf('--only')
const only = at < 0 ? undefined : options[at + 1]?.split(',')

const sections: Record<string, () => Promise<string[]>> = {
  cost: () =>
    costs(quick ? { slices: 1, rate: 50, seconds: 2, timed: 50 } : { slices: 5, rate: 100, seconds: 4, timed: 200 }),
  gap: () => gap(quick ? 20 : 200),
  adopt: () => adoption(quick ? 100 : 5000),
  room,
}

for (const name of only ?? Object.keys(sections)) {
  const section = sections[name]
  if (section === undefined) throw new Error(`there is no section ${name}: ${Object.keys(sections).join(', ')}`)
  const began = performance.now()
  const text = (await section()).join('\n')
  process.stdout.write(`${text}\n\n`)
  process.stderr.write(`${name}: ${Math.round((performance.now() - began) / 1000)} s\n`)
  if (options.includes('--write')) writeSection(`failover ${name}`, text)
}
