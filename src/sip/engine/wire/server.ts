import { hash, timingSafeEqual } from 'node:crypto'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import type { Logger } from '../../../log.ts'
import { type Answer, type App, type AppMessage, type CdrEvent, type Meta, texts } from '../dialog/app.ts'
import type { Moving } from '../dialog/moving.ts'
import type { SipMessage } from '../message/message.ts'
import { createFrameReader, encodeFrame, FramingError } from './framing.ts'
import { createRoutes, type Routes } from './routes.ts'
import {
  answerLeader,
  type Command,
  continueLeader,
  type ProxyFields,
  parseCommand,
  showLeader,
  stackTime,
  VerbError,
} from './verbs.ts'

// The admin listener: applications connect, say who they are, ask for verbs, and speak SIP through it.

const mostFrameBytes = 16 * 1024 * 1024
const mostQueuedBytes = 64 * 1024 * 1024
const mostUnauthenticatedMs = 10_000

/** A proxied request's way to tell its application. */
export interface ProxyReport {
  final(message: SipMessage, meta: Meta): void
  done(error?: string): void
}

/** The engine behind the listener. */
export interface WireUser {
  onSip(
    app: App,
    frame: { transaction: string; dialog: string; nextHop: string; sip: AppMessage },
  ): Answer | Promise<Answer>
  onProxy(app: App, transaction: string, options: ProxyFields, sip: AppMessage, report: ProxyReport): void
  readonly dialogs: Moving
  onGone(app: App): void
}

export interface WireDeps {
  host: string
  port: number
  secret: string
  /** The three data fields of a good `authenticate`: advertised points, version, local points. */
  hello: () => [advertised: string, version: string, local: string]
  user: WireUser
  log: Logger
}

export interface AdminServer {
  readonly port: number
  readonly routes: Routes<App>
  /** True when at least one application has proved itself. */
  connected(): boolean
  /** Tells one application, of those that asked, of an attempted, answered or ended call. */
  cdr(event: CdrEvent, fields: string[], message: SipMessage): void
  stats(): { apps: number }
  close(): Promise<void>
}

/** Opens the listener. Rejects when the port can not be had. */
export async function createAdminServer(deps: WireDeps): Promise<AdminServer> {
  const routes = createRoutes<App>()
  const connections = new Set<Connection>()
  const server = createServer(socket => {
    const connection: Connection = new Connection(socket, deps, routes, () => connections.delete(connection))
    connections.add(connection)
  })
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(deps.port, deps.host, () => resolve())
  })
  server.on('error', err => deps.log.error({ err }, 'admin listener failed'))

  return {
    port: (server.address() as AddressInfo).port,
    routes,
    connected: () => [...connections].some(connection => connection.authenticated),
    cdr(event, fields, message) {
      const app = routes.next(`cdr:${event}`)
      if (app instanceof Connection) app.cdr(event, fields, message)
    },
    stats: () => ({ apps: connections.size }),
    async close() {
      const closed = new Promise<void>(resolve => server.close(() => resolve()))
      for (const connection of connections) connection.close()
      await closed
    },
  }
}

class Connection implements App {
  authenticated = false
  closed = false
  readonly #socket: Socket
  readonly #deps: WireDeps
  readonly #routes: Routes<App>
  readonly #forget: () => void
  readonly #deadline: NodeJS.Timeout
  #queue: Buffer[] = []
  #flushing = false
  #ids = 0

  constructor(socket: Socket, deps: WireDeps, routes: Routes<App>, forget: () => void) {
    this.#socket = socket
    this.#deps = deps
    this.#routes = routes
    this.#forget = forget
    socket.setNoDelay(true)
    socket.setKeepAlive(true, 45_000)
    const reader = createFrameReader(payload => this.#onFrame(payload), mostFrameBytes)
    socket.on('data', chunk => {
      try {
        reader.push(chunk)
      } catch (error) {
        if (!(error instanceof FramingError)) throw error
        deps.log.warn({ reason: error.message }, 'application sent no frame; connection closed')
        this.close()
      }
    })
    socket.on('error', error => deps.log.debug({ reason: error.message }, 'application connection failed'))
    socket.on('close', () => this.#onClose())
    this.#deadline = setTimeout(() => this.close(), mostUnauthenticatedMs)
    this.#deadline.unref()
  }

  show(meta: Meta, message: SipMessage): void {
    this.#enqueue(encodeFrame(showLeader(this.#id(), meta, stackTime(new Date())), message.toBuffer()))
  }

  cdr(event: CdrEvent, fields: string[], message: SipMessage): void {
    const [source = '', ...rest] = fields
    const leader = [this.#id(), `cdr:${event}`, source, stackTime(new Date()), ...rest].join('|')
    this.#enqueue(encodeFrame(leader, message.toBuffer()))
  }

  close(): void {
    this.#socket.destroy()
    this.#onClose()
  }

  #id(): string {
    return `s${(++this.#ids).toString(36)}`
  }

  // Messages wait for the end of the loop's turn and go out in one write; answers go at once. drachtio-srf loses a
  // response that it reads together with the answer to its request (WIRE-PROTOCOL 15.1).
  #enqueue(frame: Buffer): void {
    if (this.closed) return
    this.#queue.push(frame)
    if (this.#flushing) return
    this.#flushing = true
    setImmediate(() => {
      this.#flushing = false
      const frames = this.#queue
      this.#queue = []
      this.#write(frames.length === 1 ? frames[0]! : Buffer.concat(frames))
    })
  }

  #write(bytes: Buffer): void {
    if (this.closed) return
    this.#socket.write(bytes)
    if (this.#socket.writableLength <= mostQueuedBytes) return
    this.#deps.log.error('application does not read; connection closed')
    this.close()
  }

  #answer(to: string, fields: string): void {
    this.#write(encodeFrame(`${this.#id()}|response|${to}|${fields}`))
  }

  // NO says that the frame itself was wrong, and ends the connection.
  #refuse(to: string, text: string): void {
    this.#answer(to, `NO|${text}`)
    this.#socket.destroySoon()
    this.#onClose()
  }

  #onFrame(payload: Buffer): void {
    if (this.closed) return
    let command: Command
    try {
      command = parseCommand(payload)
    } catch (error) {
      if (!(error instanceof VerbError)) throw error
      this.#refuse(error.id, error.message)
      return
    }
    if (command.verb === 'authenticate') {
      this.#authenticate(command.id, command.secret)
      return
    }
    if (!this.authenticated) {
      this.#refuse(command.id, 'not authenticated')
      return
    }
    this.#obey(command)
  }

  #authenticate(id: string, secret: string): void {
    const same = timingSafeEqual(hash('sha256', secret, 'buffer'), hash('sha256', this.#deps.secret, 'buffer'))
    if (!same) {
      this.#refuse(id, 'incorrect secret')
      return
    }
    this.authenticated = true
    clearTimeout(this.#deadline)
    this.#answer(id, `OK|${this.#deps.hello().join('|')}`)
  }

  #obey(command: Exclude<Command, { verb: 'authenticate' }>): void {
    switch (command.verb) {
      case 'ping':
        this.#answer(command.id, 'OK|pong')
        return
      case 'route':
        this.#routes.add(command.name, this)
        this.#answer(command.id, 'OK')
        return
      case 'remove_route':
        this.#routes.remove(command.name, this)
        this.#answer(command.id, 'OK')
        return
      case 'sip':
        this.#sip(command)
        return
      case 'proxy':
        this.#proxy(command)
        return
      default:
        this.#dialog(command)
    }
  }

  #dialog(command: Command & { verb: `dialog_${string}` }): void {
    const { id } = command
    const { dialogs } = this.#deps.user
    switch (command.verb) {
      case 'dialog_read': {
        const state = dialogs.read(this, command.dialog)
        if (state === undefined) this.#answer(id, `NOK|${texts.unknownDialog}`)
        else this.#write(encodeFrame(`${this.#id()}|response|${id}|OK`, Buffer.from(state)))
        return
      }
      case 'dialog_install': {
        const problem = dialogs.install(this, command.state, command.nextHop)
        this.#answer(id, problem === undefined ? 'OK' : `NOK|${problem}`)
        return
      }
      case 'dialog_forget':
        dialogs.forget(this, command.dialog)
        this.#answer(id, 'OK')
        return
    }
  }

  #sip(command: Command & { verb: 'sip' }): void {
    if (command.sip.startLine.startsWith('SIP/') && command.transaction === '') {
      this.#refuse(command.id, 'missing transaction id')
      return
    }
    const answer = this.#deps.user.onSip(this, command)
    if (!(answer instanceof Promise)) {
      this.#report(command.id, answer)
      return
    }
    answer.then(
      given => this.#report(command.id, given),
      (err: unknown) => {
        this.#deps.log.error({ err }, 'request of the application failed')
        this.#report(command.id, { ok: false, text: 'Server error' })
      },
    )
  }

  #report(to: string, answer: Answer): void {
    const leader = answerLeader(this.#id(), to, answer, stackTime(new Date()))
    this.#write(encodeFrame(leader, answer.ok ? answer.message.toBuffer() : undefined))
  }

  #proxy(command: Command & { verb: 'proxy' }): void {
    const { id, options } = command
    this.#deps.user.onProxy(this, command.transaction, options, command.sip, {
      final: (message, meta) => {
        if (!options.fullResponse) return
        this.#enqueue(encodeFrame(continueLeader(this.#id(), id, meta, stackTime(new Date())), message.toBuffer()))
      },
      done: error => {
        const fields = error === undefined ? 'OK|done' : `NOK|${error}`
        this.#enqueue(encodeFrame(`${this.#id()}|response|${id}|${fields}`))
      },
    })
  }

  #onClose(): void {
    if (this.closed) return
    this.closed = true
    clearTimeout(this.#deadline)
    this.#queue = []
    this.#routes.removeAll(this)
    this.#forget()
    this.#deps.user.onGone(this)
  }
}
