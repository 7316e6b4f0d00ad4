import type { types } from 'mediasoup'
import type { Logger } from '../../log.ts'
import type { AddressWatch } from '../../network/interfaces.ts'
import { routerCodecs } from '../sdp/router.ts'
import { openServer } from './media-server.ts'

/** One SFU worker process with its router and the port that browsers' media comes to. */
export interface PooledWorker {
  readonly id: string
  readonly pid: number
  /** The one router of this worker. */
  router(): Promise<types.Router>
  /** For new WebRTC transports: always take it anew, addresses change. */
  readonly webRtcServer: types.WebRtcServer
  /** Transports that are open, or were when it died. */
  load(): number
  /** CPU seconds that the process has used, as known a moment ago. */
  cpuSeconds(): number
  /** Resolves when the process has ended without having been asked to. */
  readonly died: Promise<void>
}

export interface OwnedWorker extends PooledWorker {
  /** Resolves when the process has ended. */
  close(): Promise<void>
}

export interface WorkerDeps {
  createWorker: (settings: types.WorkerSettings) => Promise<types.Worker>
  binary: string
  id: string
  /** Ports for browsers, in order of preference, and the loopback ports of everything else. */
  ports: readonly number[]
  trunkPorts: { min: number; max: number }
  addresses: AddressWatch
  publicAddress: string
  log: Logger
}

/** Starts a worker process and lets it listen. Rejects when it does not start or no port is free. */
export async function startWorker(deps: WorkerDeps): Promise<OwnedWorker> {
  const { createWorker, binary, id, ports, trunkPorts, addresses, publicAddress, log } = deps
  const worker = await createWorker({
    workerBin: binary,
    logLevel: 'warn',
    // What a transport takes that is given no port of its own; no two workers may have the same.
    rtcMinPort: trunkPorts.min,
    rtcMaxPort: trunkPorts.max,
  })
  const ended = new Promise<void>(done => worker.once('subprocessclose', done))
  const died = new Promise<void>(done => worker.once('died', () => done()))
  const server = await openServer({ worker, ports, publicAddress, log }, addresses.current()).catch(error => {
    worker.close()
    throw error
  })
  const unfollow = addresses.onChange(now => void server.move(now))
  worker.observer.once('close', unfollow)

  let transports = 0
  let router: Promise<types.Router> | undefined
  async function openRouter(): Promise<types.Router> {
    const opened = await worker.createRouter({ mediaCodecs: routerCodecs })
    opened.observer.on('newtransport', transport => {
      transports++
      // What a dead worker carried can still be asked.
      transport.observer.once('close', () => (transports -= worker.closed ? 0 : 1))
    })
    return opened
  }
  const cpu = watchCpu(worker)
  return {
    id,
    pid: worker.pid,
    router() {
      router ??= openRouter()
      return router
    },
    get webRtcServer() {
      return server.current()
    },
    load: () => transports,
    cpuSeconds: cpu,
    died,
    async close() {
      worker.close()
      await ended
    },
  }
}

const cpuMs = 1000

/** Asking takes a message to the process, so what it said last is given, and asked for anew at most every second. */
function watchCpu(worker: types.Worker): () => number {
  let [seconds, asked] = [0, -cpuMs]
  return () => {
    if (performance.now() - asked >= cpuMs && !worker.closed) {
      asked = performance.now()
      worker.getResourceUsage().then(
        usage => (seconds = (usage.ru_utime + usage.ru_stime) / 1000),
        () => {
          // It has died meanwhile; the last figure stands.
        },
      )
    }
    return seconds
  }
}
