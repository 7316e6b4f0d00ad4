import { parentPort, workerData } from 'node:worker_threads'
import { Refusal } from '../../errors.ts'
import { createAudioHost } from './host.ts'
import { loadLibc } from './libc.ts'
import type { Reply, Request, ThreadOptions } from './messages.ts'

// The entry of the audio thread. It owns every socket of phones' media, so that no packet waits for the main event loop.

const { rtpPorts, trunkPorts, silentMs, opus, bell } = workerData as ThreadOptions

const say = (reply: Reply) => parentPort!.postMessage(reply)

const libc = await loadLibc()
say({ sockets: libc ? 'direct' : 'node' })
const host = createAudioHost({
  rtpPorts,
  trunkPorts,
  silentMs,
  libc,
  // By Node's sockets each packet wakes the thread up by itself, and sleeping has nothing to save.
  bell: libc && bell,
  emit: event => say({ event }),
  async loadMixery() {
    const [{ createMixer }, { loadCodecs }] = await Promise.all([
      import('../mix/mixer.ts'),
      import('../codec/codec.ts'),
    ])
    return { createMixer, codecs: await loadCodecs(opus) }
  },
  cpuSeconds() {
    const { user, system } = process.threadCpuUsage()
    return (user + system) / 1e6
  },
})

async function answer({ id, method, args }: Request): Promise<void> {
  try {
    const result = await (host[method] as (...args: unknown[]) => Promise<unknown>)(...args)
    say({ id, result })
  } catch (error) {
    if (error instanceof Refusal) say({ id, refusal: { code: error.code, message: error.message } })
    else say({ id, bug: error instanceof Error ? error : new Error(String(error)) })
  }
  // Nothing is left then that would keep the thread alive.
  if (method === 'close') parentPort!.close()
}

parentPort!.on('message', request => void answer(request as Request))
