import { spawn } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { freePort } from './redis.ts'
import { here, type Place } from './server.ts'

export interface NatsServer {
  /** With the user and password that it asks for. */
  url: string
  port: number
  pid: number
  stop(): Promise<void>
}

const user = 'vaartha'
const password = 'of a test'

/** Starts a real nats-server with JetStream on a loopback port, that lets in one user alone, or whom `rules` let in. */
export async function startNats(
  at?: number,
  store?: string,
  place: Place = here,
  rules?: readonly string[],
): Promise<NatsServer> {
  const port = at ?? (await freePort())
  const dir = store ?? (await mkdtemp(join(tmpdir(), 'vaartha-nats-')))
  const config = join(dir, 'nats.conf')
  const lines = [
    `listen: "${place.address}:${port}"`,
    // Where there are operators JetStream needs an account of its own.
    ...(rules?.some(rule => rule.startsWith('operator')) ? [] : [`jetstream { store_dir: "${dir}" }`]),
    ...(rules ?? [`authorization { user: ${user}, password: "${password}" }`]),
  ]
  await writeFile(config, lines.join('\n'))
  const child = spawn(...place.enter('nats-server', ['-c', config]), { stdio: ['ignore', 'ignore', 'pipe'] })
  const exited = new Promise<void>(resolve => child.once('exit', () => resolve()))
  await new Promise<void>((resolve, reject) => {
    child.once('error', cause =>
      reject(new Error('nats-server is missing: install the package nats-server', { cause })),
    )
    child.once('exit', code => reject(new Error(`nats-server ended with ${code}`)))
    createInterface(child.stderr).on('line', line => {
      if (line.includes('Server is ready')) resolve()
    })
  })
  return {
    url: `nats://${user}:${encodeURIComponent(password)}@${place.address}:${port}`,
    port,
    pid: child.pid!,
    async stop() {
      child.kill('SIGKILL')
      await exited
      if (store === undefined) await rm(dir, { recursive: true, force: true })
    },
  }
}
