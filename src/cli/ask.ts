import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Config } from '../config/schema.ts'
import { listRefusals, Refusal } from '../errors.ts'

/** The server that these commands ask does not run, or does not answer. */
export class NotRunning extends Error {
  override readonly name = 'NotRunning'
}

/** What a running server leaves in its data directory for the commands of the same machine. */
export interface RunFile {
  pid: number
  /** Base of its API on loopback. */
  api: string
  started: string
}

export function readRunFile(config: Config): RunFile | undefined {
  try {
    const run = JSON.parse(readFileSync(join(config.data, 'run.json'), 'utf8')) as RunFile
    process.kill(run.pid, 0)
    return run
  } catch (error) {
    // No file, or a process that is gone; EPERM means that it runs as somebody else.
    if ((error as NodeJS.ErrnoException).code !== 'EPERM') return undefined
    return JSON.parse(readFileSync(join(config.data, 'run.json'), 'utf8')) as RunFile
  }
}

/** Asks the running server's API as its administrator. `path` begins with `/api/`. Throws NotRunning, and the Refusal that the server answers. */
export async function ask<T>(config: Config, path: string, method = 'GET', body?: object): Promise<T> {
  const run = readRunFile(config)
  const base = process.env['VAARTHA_URL'] ?? run?.api
  if (base === undefined) throw new NotRunning(`no server runs on ${config.data}; start it with: npm start`)
  const token = process.env['VAARTHA_TOKEN'] ?? readToken(config)
  let response: Response
  try {
    response = await fetch(base + path, {
      method,
      headers: {
        authorization: `Bearer ${token}`,
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      signal: AbortSignal.timeout(10_000),
    })
  } catch (cause) {
    throw new NotRunning(`the server at ${base} does not answer`, { cause })
  }
  if (!response.ok) throw failure(`${method} ${path}: ${response.status}`, await response.text())
  return (await response.json()) as T
}

/** What the server refuses it says in words for people; anything else is a bug. */
function failure(what: string, text: string): Error {
  try {
    const { error, message } = JSON.parse(text) as { error?: string; message?: string }
    const code = listRefusals().find(one => one.code === error)?.code
    if (code !== undefined && code !== 'server-error') return new Refusal(code, message)
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error
  }
  return new Error(`${what} ${text}`)
}

function readToken(config: Config): string {
  try {
    return readFileSync(join(config.data, 'admin.token'), 'utf8').trim()
  } catch (cause) {
    throw new NotRunning(
      `${join(config.data, 'admin.token')} cannot be read: run this as the user that runs the server`,
      { cause },
    )
  }
}
