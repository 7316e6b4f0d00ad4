import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import type { Member, Members, NodeState } from '../../src/cluster/members.ts'

/** What a test says of the nodes, where these are not what it is about. */
export interface SaidMembers extends Pick<Members, 'life' | 'self' | 'find' | 'holdsLease' | 'onReturn'> {
  lease: boolean
  say(life: string, state: NodeState): void
  comeBack(): void
}

export function sayMembers(life: string): SaidMembers {
  const states = new Map<string, NodeState>([[life, 'up']])
  const listeners = new Set<() => void>()
  const member = (name: string): Member => ({
    node: name,
    life: name,
    state: states.get(name) ?? 'down',
    roles: ['sip'],
    priority: 10,
    sip: '',
    http: '',
    link: '',
    version: '',
    since: 0,
    seen: 0,
    load: {},
    weight: 1,
  })
  return {
    life,
    lease: true,
    self: () => member(life),
    find: name => (states.has(name) ? member(name) : undefined),
    holdsLease() {
      return this.lease
    },
    onReturn(listener) {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
    say: (name, state) => void states.set(name, state),
    comeBack() {
      this.lease = true
      for (const listener of listeners) listener()
    },
  }
}

type Line = Record<string, unknown>

/** A process of cluster-node.ts. */
export interface ClusterNode {
  readonly life: string
  readonly pid: number
  /** Runs a verb of cluster-node.ts there. */
  tell(verb: string, word?: string): Promise<unknown>
  /** Waits for a line that has all of `part`, said before or to be said; ms since `since` of performance.now(). */
  hears(part: Line, since?: number): Promise<number>
  lines(): readonly (Line & { at: number })[]
  signal(name: NodeJS.Signals): void
  stop(): Promise<void>
}

export function startClusterNode(settings: { name: string; redis: string; nats?: string }): ClusterNode {
  const program = join(import.meta.dirname, 'cluster-node.ts')
  const args = ['--disable-warning=ExperimentalWarning', program, JSON.stringify(settings)]
  const child = spawn(process.execPath, args, { stdio: ['pipe', 'pipe', 'inherit'] })
  const exited = once(child, 'exit')
  const lines: (Line & { at: number })[] = []
  const waiting = new Set<() => void>()
  const answers = new Map<number, (answer: unknown) => void>()
  let asked = 0
  createInterface(child.stdout).on('line', text => {
    const line = JSON.parse(text) as Line
    const to = line['to']
    if (typeof to === 'number') return answers.get(to)?.(line['answer'])
    lines.push({ ...line, at: performance.now() })
    for (const look of waiting) look()
  })
  return {
    life: `${settings.name}-${child.pid}`,
    pid: child.pid!,
    lines: () => lines,
    tell(verb, word = '') {
      const number = ++asked
      child.stdin.write(`${number} ${verb} ${word}\n`)
      return new Promise(resolve => answers.set(number, resolve))
    },
    hears: (part, since = 0) =>
      new Promise(resolve => {
        const look = () => {
          const found = lines.find(
            line => line.at >= since && Object.entries(part).every(([key, value]) => line[key] === value),
          )
          if (found === undefined) return
          waiting.delete(look)
          resolve(found.at - since)
        }
        waiting.add(look)
        look()
      }),
    signal: name => void child.kill(name),
    async stop() {
      child.kill('SIGKILL')
      await exited
    },
  }
}

/** A way to a Redis on this machine that can be cut, or swallow all answers. */
export async function startWay(port: number) {
  const sockets = new Set<Socket>()
  let open = true
  let mute = false
  const server = createServer(socket => {
    if (!open) return void socket.destroy()
    const there = connect(port, '127.0.0.1')
    for (const one of [socket, there]) {
      sockets.add(one)
      one.on('error', () => {})
      one.on('close', () => {
        sockets.delete(one)
        socket.destroy()
        there.destroy()
      })
    }
    socket.pipe(there)
    there.on('data', chunk => {
      if (!mute) socket.write(chunk)
    })
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    url: `redis://127.0.0.1:${(server.address() as { port: number }).port}/0`,
    cut() {
      open = false
      for (const socket of sockets) socket.destroy()
    },
    mute() {
      mute = true
    },
    mend() {
      open = true
      mute = false
    },
    close() {
      this.cut()
      server.close()
    },
  }
}
