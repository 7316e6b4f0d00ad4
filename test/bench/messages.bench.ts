import { startPair } from '../support/pair.ts'
import { createPhone } from '../support/phone.ts'
import { startVaartha, type TestServer } from '../support/server.ts'
import { createUdpPeer, type Received, sipResponse } from '../support/sip-peer.ts'
import { createTexter } from '../support/texter.ts'
import { writeSection } from './support/page.ts'
import { cpuSeconds } from './support/processes.ts'

// CPU of the whole program for messages: each is challenged anew, as many phones have it, goes over UDP, and is answered by
// a phone or kept. `--write` puts the table into docs/benchmarks.md, `--quick` makes it short.

const options = process.argv.slice(2)
const count = options.includes('--quick') ? 200 : 2000
const width = 8
const settings = { VAARTHA_MESSAGES_MOST_KEPT: '10000' }
const rows: string[] = []

interface Watched {
  node: number
  redis?: number
}

async function measure(name: string, pids: Watched, work: () => Promise<number[]>): Promise<void> {
  const read = () => [pids.node, pids.redis].map(pid => (pid === undefined ? 0 : cpuSeconds(pid)))
  const [before, began] = [read(), performance.now()]
  const times = (await work()).sort((a, b) => a - b)
  const seconds = (performance.now() - began) / 1000
  const used = read().map((after, at) => Math.round(((after - before[at]!) * 1e6) / count))
  const p99 = times.length === 0 ? '–' : times[Math.floor(times.length * 0.99)]!.toFixed(1)
  const redis = pids.redis === undefined ? '–' : used[1]
  const row = `| ${name} | ${used[0]} | ${redis} | ${Math.round(count / seconds)} | ${p99} |`
  process.stdout.write(`${row}\n`)
  rows.push(row)
}

/** Both things that happen to messages: mum writes to dad, who is there, and to kid, who comes later. */
async function run(
  name: string,
  pids: Watched,
  home: TestServer,
  away: TestServer,
  add: (user: string) => Promise<string>,
) {
  const passwords = new Map<string, string>()
  for (const user of ['mum', 'dad', 'kid']) passwords.set(user, await add(user))
  const about = (user: string) => ({ user, domain: home.domain, password: passwords.get(user)! })

  /** A phone that takes every message; resolves when it has so many. */
  async function taker(user: string, at: TestServer, wanted: number) {
    const all = Promise.withResolvers<void>()
    let taken = 0
    const waiting = new Map<string, (m: Received) => void>()
    const peer = await createUdpPeer(at.ports.sip, message => {
      if (message.status > 0) return waiting.get(message.header('CSeq'))?.(message)
      if (message.method !== 'MESSAGE') return
      peer.send(sipResponse(message, 200))
      if (++taken === wanted) all.resolve()
    })
    const wait = (fits: (m: Received) => boolean) =>
      new Promise<Received>(resolve => {
        for (const cseq of ['1 REGISTER', '2 REGISTER'])
          waiting.set(cseq, message => {
            if (fits(message)) resolve(message)
          })
      })
    await createPhone({ ...about(user), peer: { ...peer, send: peer.send, wait } }).register(3600)
    return { all: all.promise, close: () => peer.close() }
  }

  async function write(to: string, wanted: number): Promise<number[]> {
    let left = count
    const times: number[] = []
    await Promise.all(
      Array.from({ length: width }, async () => {
        const peer = await createUdpPeer(home.ports.sip)
        const mum = createTexter({ ...about('mum'), peer })
        while (left-- > 0) {
          const began = performance.now()
          const { status } = await mum.text(to, 'Dinner is at seven, bring your sister.')
          if (status !== wanted) throw new Error(`${status} to ${to}`)
          times.push(performance.now() - began)
        }
        peer.close()
      }),
    )
    return times
  }

  const dad = await taker('dad', away, count)
  await measure(`${name}: to a phone`, pids, () => write('dad', 200))
  dad.close()
  await measure(`${name}: kept`, pids, () => write('kid', 202))
  let close: (() => void) | undefined
  await measure(`${name}: brought when the phone comes`, pids, async () => {
    const kid = await taker('kid', home, count)
    close = kid.close
    await kid.all
    return []
  })
  close?.()
}

const lone = await startVaartha({ settings })
await run('one node', { node: lone.pid }, lone, lone, user => lone.addUser(user))
await lone.close()
const pair = await startPair({ settings })
const pids = { node: pair.a.pid, redis: pair.redis.pid }
await run('two nodes', pids, pair.a, pair.b, user => pair.addUser(user))
await pair.close()

const head = [
  '| CPU milliseconds for 1,000 messages | the node | Redis | messages a second | p99 ms |',
  '| --- | ---: | ---: | ---: | ---: |',
]
if (options.includes('--write')) writeSection('messages', [...head, ...rows].join('\n'))
