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
const [firstSeconds, settleSeconds, seconds] = quick ? [2, 1, 4] : [60, 20, 40]
const sizes = quick ? [5, 10] : [5, 10, 25, 50]
const speakers = 3

interface Room {
  pid: number
  /** Takes everybody in: their ports, and where each must send. */
  enter(ports: readonly number[]): Promise<number[]>
  /** Everybody goes. */
  leave(): Promise<void>
  close(): Promise<void>
}
interface Figures {
  cpuPerMinute: number
  /** Packets that a participant got, of those that it should have. */
  received: number
}

const rooms = [await janusRoom(), await ownRoom()] as const
try {
  const [theirs, ours] = await measure(sizes[0]!, 0, firstSeconds)
  const first = ours.cpuPerMinute / theirs.cpuPerMinute
  // The largest is the first of those that count: Node has compiled then what a room needs.
  const rows = []
  for (const size of sizes.toReversed()) rows.unshift(rowOf(size, ...(await measure(size, settleSeconds, seconds))))
  const text = [
    '| participants | Vaartha, CPU s a minute | Janus AudioBridge, CPU s a minute | ratio | received | received from Janus |',
    '| --- | --- | --- | --- | --- | --- |',
    ...rows,
    '',
    `In the first minute of the first meeting after the start, of ${sizes[0]}, the ratio is ${first.toFixed(2)}.`,
  ].join('\n')
  process.stdout.write(`${text}\n`)
  if (options.includes('--write')) writeSection('room', text)
} finally {
  for (const room of rooms) await room.close()
}

function rowOf(size: number, theirs: Figures, ours: Figures): string {
  const cpu = [ours.cpuPerMinute, theirs.cpuPerMinute, ours.cpuPerMinute / theirs.cpuPerMinute]
  const all = [size, ...cpu.map(value => value.toFixed(2)), percent(ours.received), percent(theirs.received)]
  return `| ${all.join(' | ')} |`
}

/** So many enter both rooms, and are gone afterwards. */
async function measure(size: number, settle: number, time: number): Promise<[Figures, Figures]> {
  const loads = [startLoad(), startLoad()] as const
  try {
    const parties = [await enter(rooms[0], loads[0], size), await enter(rooms[1], loads[1], size)] as const
    await Promise.all(parties.map(party => party.send(settle)))
    const before = rooms.map(room => cpuSeconds(room.pid))
    const received = await Promise.all(parties.map(party => party.send(time)))
    const after = rooms.map(room => cpuSeconds(room.pid))
    const figures = (i: 0 | 1): Figures => ({
      cpuPerMinute: ((after[i]! - before[i]!) * 60) / time,
      received: received[i]! / (time * 50),
    })
    return [figures(0), figures(1)]
  } finally {
    for (const room of rooms) await room.leave()
    for (const load of loads) load.disconnect()
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
    leave: () => janus.leave(),
    close: () => janus.close(),
  }
}

async function ownRoom(): Promise<Room> {
  const server = await startVaartha()
  const password = await server.addUser('guest')
  const made = await server.cli('group', 'add', 'room', '--ring', 'nobody')
  if (made.code !== 0) throw new Error(made.stderr)
  const phones: Phone[] = []
  const leave = async () => {
    for (const phone of phones.splice(0)) {
      await phone.hangUp()
      phone.peer.close()
    }
  }
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
    leave,
    close: () => server.close(),
  }
}

function percent(share: number): string {
  return `${(share * 100).toFixed(1)} %`
}
