import { type ChildProcess, fork } from 'node:child_process'
import { join } from 'node:path'
import { createPhone, type Phone } from '../support/phone.ts'
import { freePorts, startVaartha } from '../support/server.ts'
import { createUdpPeer } from '../support/sip-peer.ts'
import { startJanus } from './support/janus.ts'
import { writeSection } from './support/page.ts'
import { cpuSeconds } from './support/processes.ts'
import type { LoadAnswer, LoadAsk } from './support/rtp-load.ts'

// A room of plain participants, three of them speaking, beside Janus' AudioBridge: the same sound, from processes of one
// kind, at the same time, so that whatever else the machine does falls on both. `--write` puts the table into docs/benchmarks.md, `--quick` makes it short.

const options = process.argv.slice(2)
const quick = options.includes('--quick')
// What Node compiles while a meeting begins takes two minutes in a small room: the first minute is told by itself.
const [firstSeconds, betweenSeconds, seconds] = quick ? [2, 0.1, 4] : [60, 60, 30]
const sizes = quick ? [5, 10] : [5, 10, 25, 50]
const speakers = 3

interface Room {
  pid: number
  /** Takes everybody in: their ports, and where each must send. */
  enter(ports: readonly number[]): Promise<number[]>
  close(): Promise<void>
}
interface Figures {
  cpuPerMinute: number
  /** The same of the first minute. */
  atFirst: number
  /** Packets that a participant got, of those that it should have. */
  received: number
}

const rows: string[] = []
for (const size of sizes) {
  const [theirs, ours] = await measure([await janusRoom(), await ownRoom()], size)
  const ratio = (of: 'cpuPerMinute' | 'atFirst') => (ours[of] / theirs[of]).toFixed(2)
  const cpu = `${ours.cpuPerMinute.toFixed(2)} | ${theirs.cpuPerMinute.toFixed(2)} | ${ratio('cpuPerMinute')} | ${ratio('atFirst')}`
  rows.push(`| ${size} | ${cpu} | ${percent(ours.received)} | ${percent(theirs.received)} |`)
  process.stdout.write(`${rows.at(-1)}\n`)
}
const text = [
  '| participants | Vaartha, CPU s a minute | Janus AudioBridge, CPU s a minute | ratio | ratio in the first minute | received | received from Janus |',
  '| --- | --- | --- | --- | --- | --- | --- |',
  ...rows,
].join('\n')
if (options.includes('--write')) writeSection('room', text)

async function measure(rooms: readonly [Room, Room], size: number): Promise<readonly [Figures, Figures]> {
  const [one, two] = [startLoad(), startLoad()]
  try {
    const parties = [await enter(rooms[0], one, size), await enter(rooms[1], two, size)] as const
    const spend = async (time: number) => {
      const before = rooms.map(room => cpuSeconds(room.pid))
      const heard = await Promise.all(parties.map(party => party.send(time)))
      const cpu = rooms.map((room, i) => ((cpuSeconds(room.pid) - before[i]!) * 60) / time)
      return { heard, cpu }
    }
    const first = await spend(firstSeconds)
    await spend(betweenSeconds)
    const { heard, cpu } = await spend(seconds)
    const figures = (i: 0 | 1): Figures => ({
      cpuPerMinute: cpu[i]!,
      atFirst: first.cpu[i]!,
      received: heard[i]! / (seconds * 50),
    })
    return [figures(0), figures(1)]
  } finally {
    for (const load of [one, two]) load.disconnect()
    for (const room of rooms) await room.close()
  }
}

function startLoad(): ChildProcess {
  return fork(join(import.meta.dirname, 'support/rtp-load.ts'), { execArgv: ['--disable-warning=ExperimentalWarning'] })
}

/** `send` lets them all speak, and gives what the one with the fewest packets received. */
async function enter(room: Room, load: ChildProcess, size: number) {
  const { ports } = (await ask(load, { bind: size })) as { ports: number[] }
  const targets = await room.enter(ports)
  return {
    async send(seconds: number): Promise<number> {
      const answer = (await ask(load, { send: { ports: targets, speakers, seconds } })) as { received: number[] }
      return Math.min(...answer.received)
    },
  }
}

function ask(load: ChildProcess, question: LoadAsk): Promise<LoadAnswer> {
  return new Promise(done => {
    load.once('message', answer => done(answer as LoadAnswer))
    load.send(question)
  })
}

async function janusRoom(): Promise<Room> {
  const [port] = (await freePorts(1)) as [number]
  const janus = await startJanus(port)
  return {
    pid: janus.pid,
    async enter(ports) {
      const targets: number[] = []
      for (const own of ports) targets.push(await janus.join(own, `p${own}`))
      return targets
    },
    close: () => janus.close(),
  }
}

async function ownRoom(): Promise<Room> {
  const server = await startVaartha()
  const password = await server.addUser('guest')
  const made = await server.cli('group', 'add', 'room', '--ring', 'nobody')
  if (made.code !== 0) throw new Error(made.stderr)
  const phones: Phone[] = []
  return {
    pid: server.pid,
    async enter(ports) {
      const targets: number[] = []
      for (const rtpPort of ports) {
        const peer = await createUdpPeer(server.ports.sip)
        const phone = createPhone({ peer, user: 'guest', domain: server.domain, password, rtpPort })
        phones.push(phone)
        const answer = await phone.call('room')
        if (answer.status !== 200) throw new Error(`the room answers ${answer.startLine}`)
        targets.push(Number(/^m=audio (\d+)/m.exec(answer.body)?.[1]))
      }
      return targets
    },
    async close() {
      for (const phone of phones) phone.peer.close()
      await server.close()
    },
  }
}

function percent(share: number): string {
  return `${(share * 100).toFixed(1)} %`
}
