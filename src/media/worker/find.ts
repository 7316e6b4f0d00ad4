import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { cachedWorker, type Package } from './places.ts'

export interface Found {
  binary: string
  /** `given` by MEDIASOUP_WORKER_BIN, brought by the npm `package`'s own installer, or built here into the `cache`. */
  how: 'given' | 'package' | 'cache'
}

/** MEDIASOUP_WORKER_BIN names something that is no worker, or none for this machine. */
export class WrongWorker extends Error {
  override readonly name = 'WrongWorker'
}

/**
 * The first worker that runs here, in the order of Found's `how`. Rejects with WrongWorker when the operator names one
 * that does not run: to take another in its place would surprise.
 */
export async function findWorker(options: {
  env: NodeJS.ProcessEnv
  cache: string
  source: Package
}): Promise<Found | undefined> {
  const { env, cache, source } = options
  const given = env['MEDIASOUP_WORKER_BIN']
  if (given) {
    const wrong = await trial(given, env)
    if (wrong !== undefined) throw new WrongWorker(`MEDIASOUP_WORKER_BIN is ${given}, which ${wrong}`)
    return { binary: given, how: 'given' }
  }
  const places = [
    { binary: join(source.directory, 'worker/out/Release/mediasoup-worker'), how: 'package' },
    { binary: cachedWorker(cache, source.version), how: 'cache' },
  ] as const
  for (const place of places) {
    if (existsSync(place.binary) && (await trial(place.binary, env)) === undefined) return place
  }
  return undefined
}

// A worker ends with this status when nobody tells it in MEDIASOUP_VERSION which version of mediasoup started it.
const wantsVersion = 41
const trialMs = 10_000

/** Undefined when the program is a worker whose libraries are all there; else what is wrong, as the end of a sentence. */
export function trial(binary: string, env: NodeJS.ProcessEnv): Promise<string | undefined> {
  const { MEDIASOUP_VERSION: _, ...rest } = env
  return new Promise(done => {
    execFile(binary, { env: rest, timeout: trialMs, killSignal: 'SIGKILL' }, (error, _stdout, stderr) => {
      if (error?.code === wantsVersion) return done(undefined)
      if (error?.code === 'ENOENT') return done('is not there')
      if (error?.code === 'EACCES') return done('is no program, or not for this user')
      const said = stderr.trim().split('\n')[0]?.slice(0, 300) ?? ''
      const status = error === null ? 0 : (error.code ?? error.signal)
      done(`is no mediasoup worker that runs here (it ended with ${status}${said === '' ? '' : `: ${said}`})`)
    })
  })
}
