import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  acceptedSession,
  grantSession,
  isTooBrief,
  nextStep,
  parseSessionExpires,
} from '../../../src/sip/engine/dialog/session-timer.ts'

test('Session-Expires is read with and without a refresher', () => {
  assert.deepEqual(parseSessionExpires('1800;refresher=uas'), { interval: 1800, refresher: 'uas' })
  assert.deepEqual(parseSessionExpires(' 90 ; Refresher=UAC'), { interval: 90, refresher: 'uac' })
  assert.deepEqual(parseSessionExpires('90'), { interval: 90, refresher: undefined })
  assert.equal(parseSessionExpires('soon'), undefined)
  assert.equal(parseSessionExpires(undefined), undefined)
})

test('too brief is only what a peer that knows session timers asks', () => {
  assert.equal(isTooBrief('60', true, 90), true)
  assert.equal(isTooBrief('60', false, 90), false)
  assert.equal(isTooBrief('90', true, 90), false)
})

test('the grant follows RFC 4028 table 2', () => {
  const uac = grantSession('1800', true, undefined, 90)
  assert.deepEqual(uac, {
    session: { interval: 1800, refresher: 'remote' },
    header: '1800;refresher=uac',
    require: true,
  })
  assert.equal(grantSession('1800;refresher=uas', true, undefined, 90)?.session.refresher, 'local')
  const unaware = grantSession(undefined, false, '600', 90)
  assert.deepEqual(unaware, {
    session: { interval: 600, refresher: 'local' },
    header: '600;refresher=uas',
    require: false,
  })
  assert.equal(grantSession(undefined, true, undefined, 90), undefined)
  assert.equal(grantSession(undefined, true, '10', 90)?.session.interval, 90)
})

test('a 2xx says who refreshes; without Session-Expires the duty is ours if we asked', () => {
  assert.deepEqual(acceptedSession('1800', '900;refresher=uas'), { interval: 900, refresher: 'remote' })
  assert.deepEqual(acceptedSession('1800', '900;refresher=uac'), { interval: 900, refresher: 'local' })
  assert.deepEqual(acceptedSession('1800', undefined), { interval: 1800, refresher: 'local' })
  assert.equal(acceptedSession(undefined, undefined), undefined)
})

test('refresh at half, give up before the end', () => {
  assert.deepEqual(nextStep({ interval: 90, refresher: 'local' }), { refreshAfter: 45, expireAfter: 60 })
  assert.deepEqual(nextStep({ interval: 1800, refresher: 'remote' }), { expireAfter: 1768 })
})
