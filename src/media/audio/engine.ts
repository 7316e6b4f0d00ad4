import { Worker } from 'node:worker_threads'
import { Refusal } from '../../errors.ts'
import type { Logger } from '../../log.ts'
import type { AudioEngine, AudioEvent, AudioStats } from './audio.ts'
import type { Method, Reply, ThreadOptions } from './messages.ts'
import { parseRange } from './sockets.ts'

export interface AudioEngineDeps {
  /** The `media` section of the configuration, as far as it concerns the audio thread. */
  config: { rtpPorts: string; trunkPorts: string; opus?: { complexity: number; bitrate: number } }
  log: Logger
  /** Ms without packets after which an end is `silent`; 20 s. */
  silentMs?: number
}

/** The running thread, and what waits for its answers. */
interface Thread {
  worker: Worker
  bell: Int32Array
  waiting: Map<number, { resolve(result: never): void; reject(error: Error): void }>
}

const nothing: AudioStats = {
  ports: 0,
  mixes: 0,
  ends: 0,
  cpuSeconds: 0,
  perEnd: {},
  packets: { in: 0, out: 0, dropped: 0 },
}

/**
 * The audio thread as seen from the main one. The thread is started by the first call that needs it, and again by the
 * first after it died. Throws a Refusal `bad-config` when the port ranges are none.
 */
export function createAudioEngine({ config, log, silentMs }: AudioEngineDeps): AudioEngine {
  const options = {
    rtpPorts: parseRange(config.rtpPorts),
    trunkPorts: parseRange(config.trunkPorts),
    silentMs,
    opus: config.opus,
  }
  const listeners = new Set<(event: AudioEvent) => void>()
  let thread: Thread | undefined
  let closing: Promise<void> | undefined
  let last = 0
  let cpuBefore = 0
  let cpuSeconds = 0

  const tell = (event: AudioEvent) => {
    for (const listener of listeners) listener(event)
  }
  const lose = (lost: Thread, why: string, error?: Error) => {
    if (thread !== lost) return
    thread = undefined
    // CPU time of a thread that is gone stays in the sum.
    cpuBefore += cpuSeconds
    cpuSeconds = 0
    for (const { reject } of lost.waiting.values()) reject(new Error(`the audio thread ended: ${why}`))
    if (closing) return
    log.error({ err: error, why }, 'audio thread died')
    tell({ type: 'died', why })
  }
  const start = (): Thread => {
    const bell = new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT))
    const workerData: ThreadOptions = { ...options, bell }
    const worker = new Worker(new URL('./thread.ts', import.meta.url), { name: 'audio', workerData })
    const started: Thread = { worker, bell, waiting: new Map() }
    worker.on('message', (reply: Reply) => {
      if ('event' in reply) tell(reply.event)
      else if ('sockets' in reply) log.info({ sockets: reply.sockets }, 'audio thread started')
      else settle(started, reply)
    })
    worker.on('error', error => lose(started, error.message, error))
    worker.on('exit', code => lose(started, `exit code ${code}`))
    return started
  }
  const ask = <T>(method: Method | 'close', args: unknown[]): Promise<T> => {
    if (closing && method !== 'close') return Promise.reject(new Refusal('media-unavailable', 'the server is ending'))
    thread ??= start()
    const { worker, bell, waiting } = thread
    const id = ++last
    return new Promise<T>((resolve, reject) => {
      waiting.set(id, { resolve, reject })
      worker.postMessage({ id, method, args })
      // Figures are asked for each second and can wait.
      if (method === 'stats') return
      Atomics.add(bell, 0, 1)
      Atomics.notify(bell, 0)
    })
  }
  const close = async () => {
    if (!thread) return
    const { worker } = thread
    const ended = new Promise<void>(resolve => worker.once('exit', () => resolve()))
    // A thread that dies while it closes has closed too.
    await Promise.race([ask('close', []).catch(() => undefined), ended])
    await ended
  }
  // Calls that only end something need no new thread for it.
  const end = async (method: Method, ...args: unknown[]): Promise<void> => {
    if (thread && !closing) await ask<void>(method, args)
  }

  return {
    openPort: address => ask('openPort', [address]),
    setPort: (end, remote) => ask('setPort', [end, remote]),
    openTrunk: address => ask('openTrunk', [address]),
    setTrunk: (trunk, remote) => ask('setTrunk', [trunk, remote]),
    closeTrunk: trunk => end('closeTrunk', trunk),
    openEnd: (trunk, wish) => ask('openEnd', [trunk, wish]),
    closeEnd: id => end('closeEnd', id),
    link: (one, other) => ask('link', [one, other]),
    echo: (id, delayMs) => ask('echo', [id, delayMs]),
    unlink: id => ask('unlink', [id]),
    openMix: wish => ask('openMix', [wish]),
    closeMix: mix => end('closeMix', mix),
    join: (id, mix, as) => ask('join', [id, mix, as]),
    mute: (id, muted) => ask('mute', [id, muted]),
    openSlot: (mix, slot, trunk, send) => ask('openSlot', [mix, slot, trunk, send]),
    play: (to, tone) => ask('play', [to, tone]),
    stop: playing => end('stop', playing),
    record: (mix, files) => ask('record', [mix, files]),
    stopRecord: recording => ask('stopRecord', [recording]),
    name: (id, name) => ask('name', [id, name]),
    async stats() {
      if (!thread || closing) return { ...nothing, cpuSeconds: cpuBefore + cpuSeconds }
      const stats = await ask<AudioStats>('stats', [])
      cpuSeconds = stats.cpuSeconds
      return { ...stats, cpuSeconds: cpuBefore + cpuSeconds }
    },
    on(listener) {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
    close() {
      closing ??= close()
      return closing
    },
  }
}

function settle(thread: Thread, reply: Exclude<Reply, { event: AudioEvent } | { sockets: string }>): void {
  const waiting = thread.waiting.get(reply.id)
  thread.waiting.delete(reply.id)
  if ('refusal' in reply) waiting?.reject(new Refusal(reply.refusal.code, reply.refusal.message))
  else if ('bug' in reply) waiting?.reject(reply.bug)
  else waiting?.resolve(reply.result as never)
}
