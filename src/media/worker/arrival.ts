import { setTimeout as sleep } from 'node:timers/promises'
import { Refusal } from '../../errors.ts'
import type { Logger } from '../../log.ts'
import type { MediaState } from '../media.ts'
import { type Found, findWorker, WrongWorker } from './find.ts'
import { MissingPackages, makeWorker } from './make.ts'
import { missingPackages } from './packages.ts'
import { mediasoupPackage, type Package } from './places.ts'

export interface ArrivalDeps {
  /** Directory, outside the clone, where a worker that was built here is kept. */
  cache: string
  /** `never`: a worker is found, or there is none. */
  build: 'auto' | 'never'
  log: Logger
  /** Called when the state changes, and at every tenth of a build. */
  onState(state: MediaState): void
  /** Most compilers at once; 0, the default, is as many as there are cores, and memory for. */
  jobs?: number
  /** Lets everything else go first while building; default true. */
  gentle?: boolean
  env?: NodeJS.ProcessEnv
  source?: Package
  /** How often is looked what another process does, in ms. */
  pollMs?: number
  /** How often is looked whether missing packages have been installed, in ms. */
  packagesMs?: number
  /** After which time a build that failed is tried again, in ms. */
  retryMs?: number
}

/** The way of the mediasoup worker, the program that carries browsers' media, onto this machine. */
export interface Arrival {
  state(): MediaState
  /** Path of the worker. Rejects with Refusal `media-unavailable` while it is being built and where there is none. */
  binary(): Promise<string>
  /** Its path as soon as it is there, however long that takes; rejects with Refusal `media-unavailable` when it fails. */
  arrived(): Promise<string>
  /** Begins to look for it, and to build it where needed. */
  start(): void
  /** Ends a build; the next one goes on where it was. */
  close(): Promise<void>
}

const origin: Record<Found['how'], string> = {
  given: 'the one that MEDIASOUP_WORKER_BIN names',
  package: 'the one that mediasoup’s installer brought',
  cache: 'built on this machine',
}

export function createArrival(deps: ArrivalDeps): Arrival {
  const { cache, log, onState, env = process.env, source = mediasoupPackage() } = deps
  const { jobs = 0, gentle = true, pollMs = 1000, packagesMs = 20_000, retryMs = 600_000 } = deps
  const closing = new AbortController()
  const { signal } = closing
  const looked = Promise.withResolvers<void>()
  let state: MediaState = { sfu: 'preparing', why: 'is being looked for' }
  let path: string | undefined
  let arriving: Promise<string> | undefined
  let living: Promise<void> | undefined

  function change(next: MediaState): void {
    const tenth = (of: MediaState) => Math.floor((of.progress ?? 0) * 10)
    const news = next.sfu !== state.sfu || next.why !== state.why || tenth(next) !== tenth(state)
    state = next
    if (!news) return
    log.info({ sfu: next.sfu, state: inWords(next) }, 'media worker')
    onState(next)
  }

  async function arrive(): Promise<string> {
    const found = await findWorker({ env, cache, source })
    if (found === undefined && deps.build === 'never')
      throw new Refusal(
        'media-unavailable',
        'there is none, and media.build forbids to build it: run `vaartha media build`',
      )
    const onStep = (why: string, progress?: number) => {
      change({ sfu: 'preparing', why, ...(progress === undefined ? {} : { progress }) })
      looked.resolve()
    }
    const { binary, how } = found ?? (await makeWorker({ cache, source, env, jobs, gentle, pollMs, signal, onStep }))
    path = binary
    change({ sfu: 'ready', why: origin[how] })
    return binary
  }

  /** Tries until it is there: again when missing packages have been installed, and what else fails now and then. */
  async function live(): Promise<void> {
    while (!signal.aborted) {
      arriving = arrive()
      try {
        await arriving
        looked.resolve()
        return
      } catch (error) {
        if (signal.aborted) return
        change({ sfu: 'unavailable', why: (error as Error).message })
        looked.resolve()
        if (error instanceof MissingPackages) await packagesInstalled()
        else if (error instanceof WrongWorker || error instanceof Refusal) return
        else {
          log.error({ err: error, retryMs }, 'no media worker')
          await pause(retryMs, signal)
        }
      }
    }
  }

  async function packagesInstalled(): Promise<void> {
    while (!signal.aborted && (await missingPackages(env)).length > 0) await pause(packagesMs, signal)
  }

  const refuse = (cause?: unknown) => new Refusal('media-unavailable', `the media worker ${inWords(state)}`, { cause })

  return {
    state: () => state,
    async binary() {
      await looked.promise
      if (path === undefined) throw refuse()
      return path
    },
    async arrived() {
      try {
        return await arriving!
      } catch (error) {
        throw refuse(error)
      }
    },
    start() {
      living ??= live().catch(error => log.error({ err: error }, 'no media worker'))
    },
    async close() {
      closing.abort(new Error('the server is closing'))
      looked.resolve()
      await living
    },
  }
}

/** Resolves after `ms`, or when `signal` is aborted; keeps no process alive. */
function pause(ms: number, signal: AbortSignal): Promise<void> {
  return sleep(ms, undefined, { signal, ref: false }).catch(() => {
    // Aborted: whoever waits looks at the signal next.
  })
}

/** A state as the end of a sentence about the worker. */
export function inWords({ sfu, why, progress }: MediaState): string {
  const share = progress === undefined ? '' : ` (${Math.floor(progress * 100)} % done)`
  return sfu === 'unavailable' ? `is not there: ${why}` : `${why}${share}`
}
