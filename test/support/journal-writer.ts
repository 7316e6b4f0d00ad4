import { createEvents } from '../../src/events.ts'
import { createJournal } from '../../src/location/journal.ts'
import { createMemoryStore } from '../../src/location/memory.ts'
import { createSilentLog } from '../../src/log.ts'
import { someBinding } from './bindings.ts'

// A process that registers without end and says after each flush how many are in the journal; a test kills it.

const journal = createJournal({ path: process.argv[2]!, log: createSilentLog(), events: createEvents(), gatherMs: 1 })
const store = createMemoryStore({ now: Date.now, journal })
for (let n = 0; ; ) {
  for (const end = n + 50; n < end; n++) {
    const aor = `sip:user${n}@example.org`
    await store.save(aor, 0, [someBinding({ aor, expiresAt: Date.now() + 3_600_000 })])
    // A second life of an old address, so that files are compacted under the knife too.
    const old = `sip:user${n % 100}@example.org`
    const { version, bindings } = await store.load(old)
    await store.save(old, version, bindings)
  }
  await journal.flush()
  process.stdout.write(`${n}\n`)
}
