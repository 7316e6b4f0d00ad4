import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Refusal } from '../../../src/errors.ts'
import { createSilentLog } from '../../../src/log.ts'
import { watchDepartures } from '../../../src/registrar/departures.ts'
import { someBinding } from '../../support/bindings.ts'

test('registrations end when an account goes, at the start and later, and in spite of a store that was away', async () => {
  const bindings = ['ann', 'bob', 'eve'].map(user => someBinding({ aor: `sip:${user}@x` }))
  const gone = new Set(['sip:ann@x'])
  let version = 1
  let away = true
  let looks = 0
  let removed = Promise.withResolvers<string>()
  const departures = watchDepartures({
    registrar: {
      list(cursor) {
        looks++
        if (away) throw new Refusal('store-unavailable')
        const at = Number(cursor ?? 0)
        return { bindings: bindings.slice(at, at + 1), cursor: at + 1 < bindings.length ? String(at + 1) : undefined }
      },
      async remove(aor) {
        removed.resolve(aor)
        gone.delete(aor)
        return 1
      },
    },
    mayRegister: async aor => !gone.has(aor),
    version: () => version,
    log: createSilentLog(),
    everyMs: 1,
  })
  while (looks < 3) await new Promise(setImmediate)
  away = false
  assert.equal(await removed.promise, 'sip:ann@x')
  removed = Promise.withResolvers()
  gone.add('sip:eve@x')
  version = 2
  assert.equal(await removed.promise, 'sip:eve@x')
  departures.close()
})
