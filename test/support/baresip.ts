import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { freePorts } from './server.ts'
import { readWav, type Sound } from './tone.ts'

// A real baresip, driven over its ctrl_tcp module (netstrings of JSON), with a tone as its microphone and what it
// hears recorded by its sndfile module.

export interface BaresipOptions {
  user: string
  password: string
  domain: string
  /** Where the server listens; '' when it is to be found by DNS. */
  server: string
  /** Its DNS server, `address:port`. */
  dns?: string
  transport?: 'udp' | 'tcp' | 'tls'
  /** Its microphone, in Hz. */
  tone?: number
  /** Its own address. */
  address?: string
  /** Registration time asked for, in seconds; 0 does not register. */
  regint?: number
  answer?: 'manual' | 'auto' | 'early'
  /** Whom it knows, `sip:user@domain`; the command `message` writes to the first. */
  contacts?: readonly string[]
  /** More parameters of the account line, each with its semicolon. */
  account?: string
}

export interface BaresipEvent {
  class: string
  type: string
  param?: string
  peeruri?: string
  id?: string
}

export interface Baresip {
  readonly user: string
  readonly pid: number
  readonly events: readonly BaresipEvent[]
  /** Runs a command of baresip, such as `dial` with a URI; rejects when baresip says no. */
  command(command: string, params?: string): Promise<string>
  /** The next event of this type that has not been waited for yet. */
  event(type: string, ms?: number): Promise<BaresipEvent>
  /** Resolves when its log, SIP trace included, matches from `from` on; the text that matched. */
  printed(pattern: RegExp, ms?: number): Promise<string>
  log(): string
  /** How many RTP packets came in its last call that has ended. */
  received(): Promise<number>
  /** What it has heard so far, one sound a call leg, oldest first. */
  heard(): Sound[]
  /** Takes its registration back and ends it. */
  close(): Promise<void>
  kill(): void
}

const modules = ['g711', 'ausine', 'aubridge', 'sndfile', 'ctrl_tcp', 'account', 'menu', 'uuid', 'rtcpsummary']

/** Starts baresip and resolves when it is registered (when `regint` is not 0). */
export async function startBaresip(options: BaresipOptions): Promise<Baresip> {
  const {
    user,
    transport = 'udp',
    address = '127.0.0.1',
    tone = 440,
    regint = 600,
    answer = 'manual',
    account = '',
    contacts = [],
  } = options
  const folder = mkdtempSync(join(tmpdir(), `vaartha-baresip-${user}-`))
  const [control, sip] = (await freePorts(2)) as [number, number]
  mkdirSync(join(folder, 'rec'))
  writeFileSync(
    join(folder, 'config'),
    [
      `sip_listen ${address}:${sip}`,
      `net_interface ${address}`,
      'call_local_timeout 120',
      'call_max_calls 8',
      `audio_source ausine,${tone}`,
      'audio_player aubridge,void',
      'audio_alert aubridge,void',
      'ausrc_srate 48000',
      'ausrc_channels 2',
      'auplay_channels 1',
      'audio_level no',
      'rtp_ports 20000-29999',
      // Its jitter buffer takes a new sender, as after a transfer, for one that is late, in every second case.
      'jitter_buffer_delay 0-0',
      'rtcp_enable yes',
      'module_path /usr/lib/baresip/modules',
      // Outbound needs the device's UUID when the account is read; phones without it are to stay without one.
      ...(account.includes('sipnat=outbound') ? ['module uuid.so'] : []),
      ...modules.map(name => `module ${name}.so`),
      ...(contacts.length > 0 ? ['module contact.so'] : []),
      ...(options.dns === undefined ? [] : [`dns_server ${options.dns}`]),
      `ctrl_tcp_listen 127.0.0.1:${control}`,
      `snd_path ${join(folder, 'rec')}`,
      '',
    ].join('\n'),
  )
  writeFileSync(join(folder, 'contacts'), contacts.map(uri => `"Somebody" <${uri}>\n`).join(''))
  const outbound = options.server === '' ? '' : `outbound="sip:${options.server};transport=${transport}";`
  writeFileSync(
    join(folder, 'accounts'),
    `<sip:${user}@${options.domain};transport=${transport}>;auth_user=${user};auth_pass=${options.password};${outbound}` +
      `regint=${regint};answermode=${answer};mwi=no;audio_codecs=PCMU/8000/1,PCMA/8000/1${account}\n`,
  )
  const child = spawn('baresip', ['-s', '-f', folder], { stdio: ['ignore', 'pipe', 'pipe'] })
  const phone = new Phone(user, folder, child)
  try {
    await phone.printed(/baresip is ready/)
    await phone.connect(control)
    if (regint > 0) await phone.printed(/\b200 OK[^\n]*\r?\n(?:[^\n]+\r?\n)*CSeq: \d+ REGISTER/)
  } catch (error) {
    phone.kill()
    throw new Error(`${user}: ${(error as Error).message}\n${phone.log().slice(-4000)}`)
  }
  return phone
}

class Phone implements Baresip {
  readonly user: string
  readonly pid: number
  readonly events: BaresipEvent[] = []
  readonly #folder: string
  readonly #child: ChildProcess
  readonly #watchers = new Set<() => void>()
  readonly #answers = new Map<string, (answer: { ok: boolean; data: string }) => void>()
  #text = ''
  #taken = new Set<BaresipEvent>()
  #socket: Socket | undefined
  #count = 0

  constructor(user: string, folder: string, child: ChildProcess) {
    this.user = user
    this.pid = child.pid!
    this.#folder = folder
    this.#child = child
    for (const stream of [child.stdout!, child.stderr!]) {
      stream.setEncoding('utf8').on('data', (text: string) => {
        this.#text += text.replace(/\u001b\[[0-9;]*m/g, '')
        this.#wake()
      })
    }
    child.on('exit', () => this.#wake())
  }

  async connect(port: number): Promise<void> {
    const socket = connect(port, '127.0.0.1')
    await once(socket, 'connect')
    this.#socket = socket
    let waiting = Buffer.alloc(0)
    socket.on('error', () => {})
    socket.on('data', data => {
      waiting = Buffer.concat([waiting, data])
      for (;;) {
        const colon = waiting.indexOf(':')
        const size = Number(waiting.toString('latin1', 0, Math.max(colon, 0)))
        if (colon < 0 || waiting.length < colon + size + 2) return
        this.#take(JSON.parse(waiting.toString('utf8', colon + 1, colon + 1 + size)))
        waiting = waiting.subarray(colon + size + 2)
      }
    })
  }

  #take(
    message: { event?: boolean; response?: boolean; token?: string; ok?: boolean; data?: string } & BaresipEvent,
  ): void {
    if (message.event) this.events.push(message)
    else this.#answers.get(message.token ?? '')?.({ ok: message.ok === true, data: message.data ?? '' })
    this.#wake()
  }

  #wake(): void {
    for (const watcher of this.#watchers) watcher()
  }

  /** Resolves with the first defined value of `look`, which is asked again whenever something came. */
  #until<T>(look: () => T | undefined, what: string, ms: number): Promise<T> {
    return new Promise((done, failed) => {
      const end = () => {
        clearTimeout(timer)
        this.#watchers.delete(watcher)
      }
      const watcher = () => {
        const found = look()
        if (found !== undefined) {
          end()
          done(found)
        } else if (this.#child.exitCode !== null) {
          end()
          failed(new Error(`${this.user}: baresip ended`))
        }
      }
      const timer = setTimeout(() => {
        end()
        failed(new Error(`${this.user}: no ${what} in ${ms} ms\n${this.#text.slice(-6000)}`))
      }, ms)
      this.#watchers.add(watcher)
      watcher()
    })
  }

  async command(command: string, params = ''): Promise<string> {
    const token = String(++this.#count)
    const text = JSON.stringify({ command, params, token })
    const answered = new Promise<{ ok: boolean; data: string }>(done => this.#answers.set(token, done))
    this.#socket!.write(`${Buffer.byteLength(text)}:${text},`)
    const { ok, data } = await answered
    if (!ok) throw new Error(`${this.user}: ${command} ${params}: ${data}`)
    return data
  }

  event(type: string, ms = 10_000): Promise<BaresipEvent> {
    return this.#until(
      () => {
        const found = this.events.find(event => event.type === type && !this.#taken.has(event))
        if (found !== undefined) this.#taken.add(found)
        return found
      },
      type,
      ms,
    )
  }

  printed(pattern: RegExp, ms = 10_000): Promise<string> {
    return this.#until(() => pattern.exec(this.#text)?.[0], String(pattern), ms)
  }

  log(): string {
    return this.#text
  }

  async received(): Promise<number> {
    const summary = await this.printed(/EX=BareSip;[^\n]*PR=\d+/)
    return Number(/PR=(\d+)/.exec(summary)![1])
  }

  heard(): Sound[] {
    const folder = join(this.#folder, 'rec')
    const files = readdirSync(folder).filter(name => name.endsWith('-dec.wav'))
    return files.sort().map(name => readWav(join(folder, name)))
  }

  kill(): void {
    this.#child.kill('SIGKILL')
    this.#socket?.destroy()
    rmSync(this.#folder, { recursive: true, force: true })
  }

  async close(): Promise<void> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) {
      const ended = once(this.#child, 'exit')
      this.#child.kill('SIGTERM')
      const timer = setTimeout(() => this.#child.kill('SIGKILL'), 5000)
      await ended
      clearTimeout(timer)
    }
    this.kill()
  }
}
