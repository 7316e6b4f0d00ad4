import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { randomInt } from 'node:crypto'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { createInterface } from 'node:readline'
import { nodeFlags } from '../../src/cli/node-flags.mjs'

// The real program in a process of its own, on free loopback ports, with a data directory of its own.

const root = resolve(import.meta.dirname, '../..')
const flags = [...nodeFlags, join(root, 'src/main.ts')]

export interface Ports {
  sip: number
  tls: number
  http: number
  https: number
}

export interface TestServer {
  readonly ports: Ports
  /** Where phones reach it. */
  readonly address: string
  readonly domain: string
  readonly data: string
  readonly pid: number
  /** Everything it printed so far, for a failure message. */
  log(): string
  /** Makes an account and returns its password. */
  addUser(name: string, displayName?: string): Promise<string>
  /** Runs a command of `vaartha` against this server. */
  cli(...args: string[]): Promise<{ code: number; stdout: string; stderr: string }>
  /** GETs a path of the API as administrator, or asks otherwise. */
  api<T>(path: string, method?: string, body?: object): Promise<T>
  /** SIGTERM, and waits for the end; the exit code. */
  stop(): Promise<number | null>
  /** SIGKILL, and waits for the end. */
  kill(): Promise<void>
  /** Starts it again on the same data and ports; `settings` are changed from then on. */
  restart(settings?: Record<string, string>): Promise<void>
  /** Stops it and removes its data. */
  close(): Promise<void>
}

/** A host that is not the one of the test. */
export interface Place {
  readonly address: string
  /** The command line that runs a command there. */
  enter(command: string, args: readonly string[]): [command: string, args: string[]]
}

/** The host of the test. */
export const here: Place = { address: '127.0.0.1', enter: (command, args) => [command, [...args]] }

export interface TestServerOptions {
  /** Settings beyond the test's defaults, as `VAARTHA_…` variables. */
  settings?: Record<string, string>
  /** Addresses to listen on. */
  listen?: string[]
  /** Where it runs. */
  place?: Place
}

/** Starts Vaartha and resolves when it is ready; rejects with its output when it ends before. */
export async function startVaartha(options: TestServerOptions = {}): Promise<TestServer> {
  const { place = here } = options
  const data = mkdtempSync(join(tmpdir(), 'vaartha-'))
  const [sip, tls, http, https] = (await freePorts(4)) as [number, number, number, number]
  const config = join(data, 'vaartha.yaml')
  writeFileSync(config, '')
  const env: NodeJS.ProcessEnv = {
    PATH: process.env['PATH'],
    HOME: process.env['HOME'],
    ...pick(['XDG_CACHE_HOME', 'MEDIASOUP_WORKER_BIN']),
    NODE_COMPILE_CACHE: join(tmpdir(), 'vaartha-compile-cache'),
    VAARTHA_CONFIG: config,
    VAARTHA_DATA: join(data, 'data'),
    VAARTHA_NETWORK_LISTEN: (options.listen ?? [...new Set([here.address, place.address])]).join(),
    VAARTHA_DISCOVERY_ENABLED: 'false',
    VAARTHA_SIP_UDP: String(sip),
    VAARTHA_SIP_TCP: String(sip),
    VAARTHA_SIP_TLS: String(tls),
    VAARTHA_HTTP_PORT: String(http),
    VAARTHA_HTTP_SECURE_PORT: String(https),
    VAARTHA_LOG_FORMAT: 'json',
    ...options.settings,
  }
  const folder = env['VAARTHA_DATA']!
  let child: ChildProcess
  let printed = ''

  async function start(): Promise<void> {
    child = spawn(...place.enter(process.execPath, [...flags, 'serve']), { env, stdio: ['ignore', 'pipe', 'pipe'] })
    const own = child
    own.stderr!.setEncoding('utf8').on('data', text => (printed += text))
    await new Promise<void>((ready, failed) => {
      createInterface({ input: own.stdout! }).on('line', line => {
        printed = `${printed}${line}\n`.slice(-200_000)
        if (line.includes('"msg":"ready"')) ready()
      })
      own.once('exit', code => failed(new Error(`Vaartha ended with ${code}:\n${printed}`)))
    })
  }

  async function end(signal: NodeJS.Signals): Promise<number | null> {
    if (child.exitCode !== null || child.signalCode !== null) return child.exitCode
    const exited = once(child, 'exit')
    child.kill(signal)
    return ((await exited) as [number | null])[0]
  }

  function cli(...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
    return new Promise(done => {
      execFile(...place.enter(process.execPath, [...flags, ...args]), { env }, (error, stdout, stderr) =>
        done({ code: typeof error?.code === 'number' ? error.code : error === null ? 0 : 1, stdout, stderr }),
      )
    })
  }

  await start()
  return {
    ports: { sip, tls, http, https },
    address: place.address,
    domain: options.settings?.['VAARTHA_DOMAIN'] ?? 'vaartha.local',
    data: folder,
    get pid() {
      return child.pid!
    },
    log: () => printed,
    cli,
    async addUser(name, displayName) {
      const more = displayName === undefined ? [] : ['--display-name', displayName]
      const { code, stdout, stderr } = await cli('user', 'add', name, '--json', ...more)
      if (code !== 0) throw new Error(`user add ${name}: ${stderr}`)
      return (JSON.parse(stdout) as { password: string }).password
    },
    async api<T>(path: string, method = 'GET', body?: object) {
      const token = readFileSync(join(folder, 'admin.token'), 'utf8').trim()
      const answer = await fetch(`http://${place.address}:${http}${path}`, {
        method,
        signal: AbortSignal.timeout(15_000),
        headers: { authorization: `Bearer ${token}`, ...(body && { 'content-type': 'application/json' }) },
        ...(body && { body: JSON.stringify(body) }),
      })
      if (!answer.ok) throw new Error(`${path}: ${answer.status} ${await answer.text()}`)
      return (answer.status === 204 ? undefined : await answer.json()) as T
    },
    stop: () => end('SIGTERM'),
    kill: async () => void (await end('SIGKILL')),
    restart(settings = {}) {
      Object.assign(env, settings)
      return start()
    },
    async close() {
      await end('SIGTERM')
      rmSync(data, { recursive: true, force: true })
    },
  }
}

const handedOut = new Set<number>()

/**
 * Ports that are free for TCP and UDP on loopback. They lie below those that the system gives to outgoing connections,
 * so that nobody gets one by chance before it is used.
 */
export async function freePorts(count: number): Promise<number[]> {
  const ports: number[] = []
  while (ports.length < count) {
    const port = randomInt(10_000, 20_000)
    if (handedOut.has(port) || !(await isFree(port))) continue
    handedOut.add(port)
    ports.push(port)
  }
  return ports
}

async function isFree(port: number): Promise<boolean> {
  const server = createServer().listen(port, '127.0.0.1')
  const socket = createSocket('udp4').bind(port, '127.0.0.1')
  try {
    await Promise.all([once(server, 'listening'), once(socket, 'listening')])
    return true
  } catch {
    return false
  } finally {
    await Promise.all([new Promise(done => server.close(done)), new Promise<void>(done => socket.close(done))])
  }
}

/** Those variables of this process that are set. */
function pick(names: readonly string[]): NodeJS.ProcessEnv {
  return Object.fromEntries(
    names.filter(name => process.env[name] !== undefined).map(name => [name, process.env[name]]),
  )
}
