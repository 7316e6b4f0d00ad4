import { monitorEventLoopDelay } from 'node:perf_hooks'
import { createEvents } from '../../../src/events.ts'
import { createJournal } from '../../../src/location/journal.ts'
import { createMemoryStore } from '../../../src/location/memory.ts'
import { createSharedStore } from '../../../src/location/shared.ts'
import type { LocationStore } from '../../../src/location/store.ts'
import { createWatchdog } from '../../../src/location/watchdog.ts'
import { createSilentLog } from '../../../src/log.ts'
import { createRedisLink } from '../../../src/redis/link.ts'
import { createRegistrar, type RegisterRequest } from '../../../src/registrar/registrar.ts'
import { sameUriText } from '../../../src/sip/engine/message/uri.ts'

// A program of its own: one node's registrar, watchdog and store, told by its parent what to do. Its words are the name
// of the node and the URL of Redis, or `journal` and a path.

export type Order = { register: number; width: number } | { settle: true } | { end: true }
export type Answer = { ready: number } | { done: number; bindings: number; longestMs: number; p99: number }

const [name = '', kind = '', where = ''] = process.argv.slice(2)
const events = createEvents()
const log = createSilentLog()
const began = performance.now()
const { store, close, isSettled } = kind === 'journal' ? openEmbedded() : await openShared()
const location = createWatchdog({ store, node: name, events, log, now: Date.now, leader: () => name === 'a' })
await location.start()
const registrar = createRegistrar({
  location,
  config: { minExpires: 60, maxExpires: 3600, defaultExpires: 3600, mostContacts: 10 },
  domain: 'home.example',
  node: name,
  gruuKey: Buffer.alloc(32),
  events,
  now: Date.now,
  sameUri: sameUriText,
})
let cseq = 0

function openEmbedded() {
  const store: LocationStore = createMemoryStore({
    now: Date.now,
    journal: createJournal({ path: where, log, events }),
  })
  return { store, close: () => store.close(), isSettled: () => true }
}

async function openShared() {
  const link = createRedisLink({ config: { redis: where, prefix: 'bench', timeoutMs: 1000 }, events, log })
  await link.ready()
  const store = createSharedStore({ link, prefix: 'bench', life: name, log, now: Date.now })
  const close = async () => {
    await store.close()
    await link.close()
  }
  return { store, close, isSettled: () => link.healthy() && store.figures().waiting === 0 }
}

function request(n: number): RegisterRequest {
  const address = `192.168.${n >> 8}.${n & 255}`
  return {
    aor: `sip:user${n}@home.example`,
    contacts: [{ uri: `sip:user${n}@${address}:5060`, params: new Map([['+sip.instance', `"<urn:uuid:${n}>"`]]) }],
    expires: 3600,
    callId: `${n}@phone`,
    cseq,
    path: [],
    supported: ['outbound', 'path'],
    require: [],
    vias: 1,
    flow: `udp-${n & 7}`,
    protocol: 'udp',
    source: { address, port: 5060 },
    userAgent: `Phone/${n % 20}.0`,
  }
}

/** Milliseconds of each, sorted. */
async function registerAll(count: number, width: number): Promise<Float64Array> {
  cseq++
  const took = new Float64Array(count)
  for (let n = 0; n < count; n += width) {
    await Promise.all(
      Array.from({ length: width }, async (_, i) => {
        const asked = performance.now()
        await registrar.register(request(n + i))
        took[n + i] = performance.now() - asked
      }),
    )
    await new Promise(resolve => setImmediate(resolve))
  }
  return took.sort()
}

const delay = monitorEventLoopDelay({ resolution: 5 })
process.on('message', async (order: Order) => {
  if ('end' in order) {
    await close()
    process.disconnect()
    return
  }
  delay.reset()
  delay.enable()
  const start = performance.now()
  let p99 = 0
  if ('register' in order) {
    const took = await registerAll(order.register, order.width)
    p99 = took[Math.floor(took.length * 0.99)]!
  } else while (!isSettled()) await new Promise(resolve => setTimeout(resolve, 20))
  delay.disable()
  const answer: Answer = {
    done: performance.now() - start,
    bindings: await store.count(),
    longestMs: delay.max / 1e6,
    p99,
  }
  process.send?.(answer)
})
process.send?.({ ready: performance.now() - began } satisfies Answer)
