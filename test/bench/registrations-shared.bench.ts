import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Redis } from 'ioredis'
import { startRedis } from '../support/redis.ts'
import { writeSection } from './support/page.ts'
import { cpuSeconds } from './support/processes.ts'
import type { Answer, Order } from './support/shared-registrar.ts'

// What it costs to share registrations: CPU of each process for 1,000 of them, embedded and over Redis with one and two
// nodes; and how long 60,000 bindings take to be everywhere, on a node that comes and in a Redis that has lost all.
// `--write` puts the tables into docs/benchmarks.md.

const few = 20_000
const many = 60_000
const width = 50

interface Node {
  child: ChildProcess
  pid: number
  /** Milliseconds from its first line to all bindings in memory. */
  ready: number
  ask(order: Order): Promise<Exclude<Answer, { ready: number }>>
  end(): Promise<void>
}

async function start(name: string, kind: 'journal' | 'redis', where: string): Promise<Node> {
  const child = fork(join(import.meta.dirname, 'support/shared-registrar.ts'), [name, kind, where])
  const [first] = (await once(child, 'message')) as [{ ready: number }]
  return {
    child,
    pid: child.pid!,
    ready: first.ready,
    async ask(order) {
      child.send(order)
      const [answer] = (await once(child, 'message')) as [Exclude<Answer, { ready: number }>]
      return answer
    },
    async end() {
      child.send({ end: true } satisfies Order)
      await once(child, 'exit')
    },
  }
}

/** Renewals at one node, after all have registered once; CPU milliseconds for 1,000 of each process. */
async function renew(node: Node, others: number[]) {
  await node.ask({ register: few, width })
  await settled(others)
  const pids = [node.pid, ...others]
  const before = pids.map(cpuSeconds)
  const answer = await node.ask({ register: few, width })
  await settled(others)
  const cpu = pids.map((pid, at) => ((cpuSeconds(pid) - before[at]!) / few) * 1e6)
  return { cpu, rate: Math.round(few / (answer.done / 1000)), p99: answer.p99 }
}

/** Resolves when those processes have nothing to do any more. */
async function settled(pids: number[]): Promise<void> {
  for (let last = -1; ; ) {
    const now = pids.reduce((sum, pid) => sum + cpuSeconds(pid), 0)
    if (now - last < 0.01) return
    last = now
    await new Promise(resolve => setTimeout(resolve, 200))
  }
}

const folder = mkdtempSync(join(tmpdir(), 'vaartha-bench-'))
const rows: string[] = []
const say = (text: string) => process.stderr.write(`${text}\n`)
function row(what: string, { cpu, rate, p99 }: Awaited<ReturnType<typeof renew>>) {
  const cells = [0, 1, 2].map(at => (cpu[at] === undefined ? '–' : cpu[at].toFixed(0)))
  rows.push(`| ${what} | ${cells.join(' | ')} | ${rate.toLocaleString('en')} | ${p99.toFixed(1)} |`)
  say(rows.at(-1)!)
}

const alone = await start('a', 'journal', join(folder, 'registrations.journal'))
row('embedded, with journal', await renew(alone, []))
await alone.end()

let redis = await startRedis()
const a = await start('a', 'redis', redis.url)
row('Redis, one node', await renew(a, [redis.pid]))
const b = await start('b', 'redis', redis.url)
row('Redis, two nodes', await renew(a, [redis.pid, b.pid]))

const seconds = (ms: number) => `${(ms / 1000).toFixed(1)} s`
const converge: string[] = []
function tell(what: string, ms: number, longest: number | undefined) {
  const stall = longest === undefined ? '–' : `${longest.toFixed(0)} ms`
  converge.push(`| ${what} | ${seconds(ms)} | ${stall} |`)
  say(converge.at(-1)!)
}
const filled = await a.ask({ register: many, width })
tell(`${many.toLocaleString('en')} people register at one node, as fast as it goes`, filled.done, filled.longestMs)
await settled([b.pid])
const late = await start('c', 'redis', redis.url)
const there = await late.ask({ settle: true })
if (there.bindings !== many) throw new Error(`the third node has ${there.bindings} bindings`)
tell('a node comes and reads them all', late.ready, undefined)
await late.end()

await redis.stop()
redis = await startRedis(redis.port)
const refilled = refill()
const both = await Promise.all([a, b].map(node => node.ask({ settle: true })))
tell('Redis comes back empty, and two nodes fill it', await refilled, Math.max(...both.map(each => each.longestMs)))

const cut = performance.now()
process.kill(redis.pid, 'SIGSTOP')
const inMemory = await a.ask({ register: few, width })
process.kill(redis.pid, 'SIGCONT')
const back = performance.now()
await a.ask({ settle: true })
say(`Redis was away for ${seconds(back - cut)}`)
tell(
  `${few.toLocaleString('en')} people register while Redis hangs, first timeout included`,
  inMemory.done,
  inMemory.longestMs,
)
tell('Redis goes on, and has them', performance.now() - back, undefined)

/** Milliseconds until Redis has all addresses again. */
async function refill(): Promise<number> {
  const began = performance.now()
  const client = new Redis(redis.url)
  const known = async () => Number(await client.dbsize())
  while ((await known()) < many) await new Promise(resolve => setTimeout(resolve, 20))
  client.disconnect()
  return performance.now() - began
}

await a.end()
await b.end()
await redis.stop()
rmSync(folder, { recursive: true })

const text = [
  '| CPU milliseconds for 1,000 renewals | the node | Redis | second node | renewals a second | p99 ms |',
  '| --- | ---: | ---: | ---: | ---: | ---: |',
  ...rows,
  '',
  `| ${many.toLocaleString('en')} bindings | time | longest stall of a node |`,
  '| --- | ---: | ---: |',
  ...converge,
].join('\n')
process.stdout.write(`${text}\n`)
if (process.argv.includes('--write')) writeSection('shared registrations', text)
