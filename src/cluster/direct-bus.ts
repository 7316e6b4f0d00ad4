import { connect, createServer, type Server, type Socket } from 'node:net'
import type { Logger } from '../log.ts'
import type { Bus, Json } from './bus.ts'
import { type Answer, createDesk, type Desk, readAnswer, unavailable } from './desk.ts'
import { type SealedSocket, sealSocket } from './sealed-socket.ts'

export interface DirectBusDeps {
  node: string
  /** Where to listen; port 0 takes a free one. */
  listen: { address: string; port: number }
  /** The first is this node's, the others are believed as well. */
  secrets: readonly string[]
  /** The other nodes that are not down, with `host:port` of their links. Asked anew each time. */
  peers(): readonly { node: string; link: string }[]
  /** Shared with another bus beside it, so that what comes by both is heard once. */
  desk?: Desk
  log: Logger
}

export interface DirectBus extends Bus {
  /** `host:port` that others reach it at. */
  link(): string
  stats(): { dropped: number; kept: number }
}

/** A fact, a kept fact, that it was heard, a question, and its answer. */
type Message =
  | { fact: Json; subject: string; id?: string }
  | { heard: string }
  | { ask: number; verb: string; question: Json }
  | { to: number; result: Answer }

interface Asked {
  resolve(answer: Json): void
  reject(error: Error): void
}

/** Our connection to one node: we ask over it, and it answers over it. */
interface Line {
  node: string
  link: string
  socket: SealedSocket | undefined
  opening: Promise<SealedSocket> | undefined
  asked: Map<number, Asked>
}

interface KeptFact {
  subject: string
  fact: Json
  missing: Set<string>
  done(): void
}

export const mostKept = 1000
const upkeepMs = 500
// Connections whose other end has not proved itself yet.
const mostStrangers = 32

/** Nodes talk to each other over TCP, one connection for each way; `sealSocket` says how they know each other. */
export async function createDirectBus(deps: DirectBusDeps): Promise<DirectBus> {
  const { node, secrets, log } = deps
  const desk = deps.desk ?? createDesk(log)
  const lines = new Map<string, Line>()
  const coming = new Set<Socket>()
  const kept = new Map<string, KeptFact>()
  let strangers = 0
  let questions = 0
  let dropped = 0
  let closed = false

  const server = createServer(welcome)
  await listen(server, deps.listen)
  const { port } = server.address() as { port: number }
  const upkeep = setInterval(maintain, upkeepMs)
  upkeep.unref()

  function welcome(socket: Socket): void {
    if (closed || strangers >= mostStrangers) {
      socket.destroy()
      return
    }
    coming.add(socket)
    socket.once('close', () => coming.delete(socket))
    strangers++
    const take = (message: unknown, from: SealedSocket) => void takeIn(message as Message, from)
    sealSocket({ socket, opener: false, node, secrets, onMessage: take, onClose: () => {} }).then(
      () => {
        strangers--
      },
      (error: Error) => {
        strangers--
        log.warn({ from: socket.remoteAddress, why: error.message }, 'refused a connection to the link between nodes')
      },
    )
  }

  /** What comes over a connection that another node opened. */
  async function takeIn(message: Message, from: SealedSocket): Promise<void> {
    if ('fact' in message) {
      desk.deliver(message.subject, message.fact, from.peer, message.id)
      if (message.id !== undefined) from.send({ heard: message.id } satisfies Message)
    } else if ('ask' in message) {
      const result = await desk.handle(message.verb, message.question, from.peer)
      const sent = from.send({ to: message.ask, result } satisfies Message)
      const tooLong: Answer = { code: 'server-error', message: 'the answer is too long' }
      if (!sent) from.send({ to: message.ask, result: tooLong } satisfies Message)
    }
  }

  /** What comes back over a connection that we opened. */
  function takeBack(message: Message, line: Line): void {
    if ('heard' in message) return markHeard(message.heard, line.node)
    if (!('to' in message)) return
    const one = line.asked.get(message.to)
    line.asked.delete(message.to)
    if (one === undefined) return
    try {
      one.resolve(readAnswer(message.result))
    } catch (error) {
      one.reject(error as Error)
    }
  }

  function lineTo(to: string, link: string): Line {
    const known = lines.get(to)
    if (known !== undefined && known.link === link) return known
    if (known !== undefined) drop(known, 'has moved')
    const line: Line = { node: to, link, socket: undefined, opening: undefined, asked: new Map() }
    lines.set(to, line)
    return line
  }

  function openLine(line: Line): Promise<SealedSocket> {
    if (line.socket !== undefined) return Promise.resolve(line.socket)
    line.opening ??= dial(line).finally(() => {
      line.opening = undefined
    })
    return line.opening
  }

  async function dial(line: Line): Promise<SealedSocket> {
    const at = line.link.lastIndexOf(':')
    const socket = connect({
      host: line.link.slice(0, at).replace(/^\[|\]$/g, ''),
      port: Number(line.link.slice(at + 1)),
    })
    const sealed = await sealSocket({
      socket,
      opener: true,
      node,
      secrets,
      onMessage: message => takeBack(message as Message, line),
      onClose: why => cut(line, why),
    })
    if (sealed.peer !== line.node || closed || lines.get(line.node) !== line) {
      sealed.close()
      throw new Error(`at ${line.link} is ${sealed.peer}`)
    }
    line.socket = sealed
    for (const [id, { subject, fact, missing }] of kept) {
      if (missing.has(line.node)) sealed.send({ fact, subject, id } satisfies Message)
    }
    return sealed
  }

  /** Whoever waits for an answer hears at once that there will be none. */
  function cut(line: Line, why: string): void {
    line.socket = undefined
    for (const one of line.asked.values()) one.reject(unavailable(line.node, `is cut off: ${why}`))
    line.asked.clear()
  }

  function drop(line: Line, why: string): void {
    if (lines.get(line.node) === line) lines.delete(line.node)
    const { socket } = line
    cut(line, why)
    socket?.close()
  }

  function maintain(): void {
    const there = new Set<string>()
    for (const { node: peer, link } of deps.peers()) {
      if (peer === node || link === '') continue
      there.add(peer)
      openLine(lineTo(peer, link)).catch((error: Error) => log.debug({ peer, why: error.message }, 'no link to a node'))
    }
    for (const line of [...lines.values()]) if (!there.has(line.node)) drop(line, 'is gone')
    for (const [id, one] of [...kept]) {
      for (const peer of one.missing) if (!there.has(peer)) markHeard(id, peer)
    }
  }

  function markHeard(id: string, peer: string): void {
    const one = kept.get(id)
    if (one?.missing.delete(peer) !== true || one.missing.size > 0) return
    kept.delete(id)
    one.done()
  }

  function ask(to: string, verb: string, question: Json, timeoutMs = 1000): Promise<Json> {
    if (to === node) return desk.handle(verb, question, node).then(readAnswer)
    const peer = deps.peers().find(one => one.node === to)
    if (peer === undefined || peer.link === '' || closed) return Promise.reject(unavailable(to, 'is not there'))
    const line = lineTo(to, peer.link)
    const number = ++questions
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        settle(() => reject(unavailable(to, 'does not answer')))
        // A connection that a partition has cut takes minutes to find out; a new one finds its way at once.
        if (verb === 'ping') line.socket?.close()
      }, timeoutMs)
      const settle = (how: () => void) => {
        clearTimeout(timer)
        line.asked.delete(number)
        how()
      }
      const asked: Asked = {
        resolve: answer => settle(() => resolve(answer)),
        reject: error => settle(() => reject(error)),
      }
      line.asked.set(number, asked)
      openLine(line).then(
        socket => {
          if (!line.asked.has(number)) return
          const sent = socket.send({ ask: number, verb, question } satisfies Message)
          if (!sent) asked.reject(unavailable(to, 'cannot be sent so much'))
        },
        (error: Error) => asked.reject(unavailable(to, `is not reached: ${error.message}`, error)),
      )
    })
  }

  return {
    link: () => {
      const { address } = deps.listen
      return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`
    },
    publish(subject, fact) {
      queueMicrotask(() => desk.deliver(subject, fact, node))
      for (const { node: peer } of deps.peers()) {
        if (peer === node) continue
        if (lines.get(peer)?.socket?.send({ fact, subject } satisfies Message) !== true) dropped++
      }
    },
    keep(subject, id, fact) {
      desk.deliver(subject, fact, node, id)
      const missing = new Set(deps.peers().map(peer => peer.node)) // biome-ignore format: one line
      missing.delete(node)
      if (missing.size === 0 || kept.has(id)) return Promise.resolve()
      const oldest = kept.size >= mostKept ? kept.entries().next().value : undefined
      if (oldest !== undefined) {
        dropped++
        kept.delete(oldest[0])
        oldest[1].done()
      }
      return new Promise(resolve => {
        kept.set(id, { subject, fact, missing, done: resolve })
        for (const peer of missing) lines.get(peer)?.socket?.send({ fact, subject, id } satisfies Message)
        maintain()
      })
    },
    subscribe: desk.subscribe,
    ask,
    answer: desk.answer,
    healthy: () => deps.peers().every(peer => peer.node === node || lines.get(peer.node)?.socket !== undefined),
    why() {
      const away = deps.peers().filter(peer => peer.node !== node && lines.get(peer.node)?.socket === undefined)
      return away.length === 0 ? '' : `no link to ${away.map(peer => peer.node).join(', ')}`
    },
    stats: () => ({ dropped, kept: kept.size }),
    async close() {
      if (closed) return
      closed = true
      clearInterval(upkeep)
      for (const line of [...lines.values()]) drop(line, 'this node stops')
      for (const one of kept.values()) one.done()
      kept.clear()
      for (const socket of coming) socket.destroy()
      await new Promise<void>(resolve => server.close(() => resolve()))
    },
  }
}

function listen(server: Server, at: { address: string; port: number }): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen({ host: at.address, port: at.port }, () => {
      server.off('error', reject)
      resolve()
    })
  })
}
