import { availableParallelism } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Config } from '../../config/schema.ts'
import { Refusal } from '../../errors.ts'
import type { Events } from '../../events.ts'
import type { Logger } from '../../log.ts'
import type { AddressWatch } from '../../network/interfaces.ts'
import { type OwnedWorker, type PooledWorker, startWorker } from './pooled-worker.ts'
import { shareOf } from './ports.ts'

export type { PooledWorker } from './pooled-worker.ts'

export interface PoolDeps {
  /** Path of the worker; rejects with Refusal `media-unavailable` while there is none. */
  binary(): Promise<string>
  config: Pick<Config['media'], 'workers' | 'port' | 'trunkPorts'>
  addresses: AddressWatch
  publicAddress: string
  log: Logger
  events: Events
  /** A worker died, with everything that it carried; its successor is being started. */
  onDied(worker: PooledWorker): void
}

/** The SFU worker processes: started when they are needed, at most one a core, and replaced when they die. */
export interface Pool {
  /** The worker that carries least. Rejects with Refusal `media-unavailable` when none can be started. */
  take(): Promise<PooledWorker>
  list(): PooledWorker[]
  /** Ends all processes and resolves when they have ended. */
  close(): Promise<void>
}

// A process takes 14 MB: a home whose calls fit into one need not have four.
const fewTransports = 8
// A worker that dies over and over is started ever more slowly, and at last only when somebody needs it.
const backOffMs = [0, 500, 1000, 2000, 5000]
const wellMs = 60_000
const portsTried = 20

interface Slot {
  readonly index: number
  worker?: OwnedWorker | undefined
  starting?: Promise<OwnedWorker> | undefined
  /** Deaths and failed starts, one soon after the other. */
  failures: number
  since: number
}

export function createPool(deps: PoolDeps): Pool {
  const { config, log, events, addresses, publicAddress } = deps
  const most = config.workers || availableParallelism()
  const slots = Array.from({ length: most }, (_, index): Slot => ({ index, failures: 0, since: 0 }))
  const closing = new AbortController()
  const { signal } = closing
  const alive = () => slots.flatMap(({ worker }) => worker ?? [])
  let library: Promise<typeof import('mediasoup')> | undefined

  function begin(slot: Slot): Promise<OwnedWorker> {
    slot.starting ??= start(slot)
      .catch(error => {
        // That there is no program yet is no failure of this slot.
        if (!(error instanceof Refusal)) slot.failures++
        throw error
      })
      .finally(() => (slot.starting = undefined))
    return slot.starting
  }

  async function start(slot: Slot): Promise<OwnedWorker> {
    const binary = await deps.binary()
    const pause = backOffMs[Math.min(slot.failures, backOffMs.length) - 1] ?? 0
    if (pause > 0) await sleep(pause, undefined, { signal, ref: false })
    library ??= loadLibrary(most, log)
    const { createWorker } = await library
    signal.throwIfAborted()
    const worker = await startWorker({
      createWorker,
      binary,
      id: String(slot.index),
      ports: Array.from({ length: portsTried }, (_, i) => config.port + slot.index + i * most).filter(p => p < 65536),
      trunkPorts: shareOf(config.trunkPorts, slot.index, most),
      addresses,
      publicAddress,
      log,
    })
    slot.worker = worker
    slot.since = performance.now()
    log.info({ pid: worker.pid, worker: worker.id }, 'SFU worker started')
    void worker.died.then(() => died(slot, worker))
    return worker
  }

  function died(slot: Slot, worker: OwnedWorker): void {
    if (signal.aborted) return
    slot.worker = undefined
    slot.failures = performance.now() - slot.since > wellMs ? 1 : slot.failures + 1
    log.error({ pid: worker.pid, worker: worker.id, failures: slot.failures }, 'SFU worker died')
    events.emit('workerDied', { pid: worker.pid, legs: worker.load() })
    void replace(slot)
    deps.onDied(worker)
  }

  async function replace(slot: Slot): Promise<void> {
    while (!signal.aborted && slot.failures <= backOffMs.length) {
      try {
        await begin(slot)
        return
      } catch (error) {
        if (signal.aborted) return
        log.error({ err: error, worker: slot.index }, 'SFU worker cannot be started')
        // The next one who needs it is told the same, and starts it when that has changed.
        if (error instanceof Refusal) return
      }
    }
  }

  async function take(): Promise<PooledWorker> {
    if (signal.aborted) throw new Refusal('media-unavailable', 'the server is closing')
    const [best] = alive().sort((a, b) => a.load() - b.load())
    const coming = slots.find(slot => slot.starting !== undefined)
    const free = slots.find(slot => slot.worker === undefined && slot.starting === undefined)
    if (best !== undefined && (best.load() < fewTransports || free === undefined)) return best
    try {
      return await (best === undefined ? (coming?.starting ?? begin(free!)) : begin(free!))
    } catch (error) {
      if (best !== undefined) return best
      if (error instanceof Refusal) throw error
      throw new Refusal('media-unavailable', 'the media worker cannot be started; the log says why', { cause: error })
    }
  }

  return {
    take,
    list: alive,
    async close() {
      closing.abort(new Error('the pool is closing'))
      await Promise.allSettled(slots.map(slot => slot.starting))
      await Promise.all(alive().map(worker => worker.close()))
      for (const slot of slots) slot.worker = undefined
    },
  }
}

/** mediasoup takes 12 MB of memory, so it is read when the first worker starts. */
async function loadLibrary(workers: number, log: Logger): Promise<typeof import('mediasoup')> {
  const library = await import('mediasoup')
  library.setLogEventListeners({
    onwarn: (from, text) => log.warn({ from, text }, 'mediasoup'),
    onerror: (from, text, error) => log.error({ from, text, err: error }, 'mediasoup'),
  })
  // Each worker listens to two signals of the process.
  process.setMaxListeners(Math.max(process.getMaxListeners(), 10 + workers))
  return library
}
