import { mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createEvents } from '../../src/events.ts'
import { createJournal } from '../../src/location/journal.ts'
import { createMemoryStore } from '../../src/location/memory.ts'
import type { LocationStore } from '../../src/location/store.ts'
import { createWatchdog } from '../../src/location/watchdog.ts'
import { createSilentLog } from '../../src/log.ts'
import { createRegistrar, type RegisterRequest } from '../../src/registrar/registrar.ts'
import { sameUriText } from '../../src/sip/engine/message/uri.ts'

// The way of a registration below the SIP seam: registrar, watchdog, store, journal. Prints registrations a second and
// CPU time each (first ones and renewals), bytes for each binding, and how long a start takes that reads them back.

const people = 100_000
const log = createSilentLog()
const events = createEvents()
const directory = mkdtempSync(join(tmpdir(), 'vaartha-bench-'))
const path = join(directory, 'registrations.journal')
let cseq = 0

// Strings cut out of a received text, as the parser gives them, so that what the store keeps is measured honestly.
function request(n: number): RegisterRequest {
  const id = String(n).padStart(12, '0')
  const text = `sip:user${n}@home.example|sip:user${n}@192.168.${n >> 8}.${n & 255}:5060|${id}@phone|urn:uuid:00000000-0000-4000-8000-${id}`
  const [aor = '', uri = '', callId = '', instance] = text.split('|')
  return {
    aor,
    contacts: [{ uri, params: new Map([['+sip.instance', `"<${instance}>"`]]) }],
    expires: 3600,
    callId,
    cseq,
    path: [],
    supported: ['outbound', 'path'],
    require: [],
    vias: 1,
    flow: `udp-${n & 7}`,
    protocol: 'udp',
    source: { address: `192.168.${n >> 8}.${n & 255}`, port: 5060 },
    userAgent: `Phone/${n % 20}.0`,
  }
}

function open(store: LocationStore) {
  const location = createWatchdog({ store, node: 'node-1', events, log, now: Date.now })
  const config = { minExpires: 60, maxExpires: 3600, defaultExpires: 3600, mostContacts: 10 }
  const gruuKey = Buffer.alloc(32)
  const deps = { location, config, domain: 'home.example', node: 'node-1', gruuKey, events, now: Date.now }
  return { location, registrar: createRegistrar({ ...deps, sameUri: sameUriText }) }
}

async function measure(what: string, count: number, run: (n: number) => Promise<unknown>) {
  cseq++
  const cpu = process.cpuUsage()
  const began = performance.now()
  for (let n = 0; n < count; n++) {
    await run(n)
    // Timers and writes have their turn, as they have it between packets.
    if (n % 100 === 0) await new Promise(resolve => setImmediate(resolve))
  }
  const seconds = (performance.now() - began) / 1000
  const { user, system } = process.cpuUsage(cpu)
  const rate = Math.round(count / seconds).toLocaleString('en')
  print(`${what}: ${rate} registrations/s, ${((user + system) / count).toFixed(1)} CPU µs each`)
}

function print(text: string) {
  process.stdout.write(`${text}\n`)
}

function used(): number {
  globalThis.gc?.()
  globalThis.gc?.()
  return process.memoryUsage().heapUsed + process.memoryUsage().external
}

const journal = createJournal({ path, log, events })
const before = used()
const { location, registrar } = open(createMemoryStore({ now: Date.now, journal }))
await measure('memory with journal, first', people, n => registrar.register(request(n)))
await journal.flush()
if (globalThis.gc !== undefined) print(`memory: ${Math.round((used() - before) / people)} bytes for each binding`)
await measure('memory with journal, renewal', people, n => registrar.register(request(n)))
await measure('memory with journal, asking', people, n => registrar.register({ ...request(n), contacts: [] }))
await location.close()
print(`journal: ${Math.round(statSync(path).size / people)} bytes for each binding on disk`)

const began = performance.now()
const again = createMemoryStore({ now: Date.now, journal: createJournal({ path, log, events }) })
print(`journal: ${await again.count()} bindings read in ${Math.round(performance.now() - began)} ms`)
await again.close()
rmSync(directory, { recursive: true })
