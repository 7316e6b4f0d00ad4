import assert from 'node:assert/strict'
import { test } from 'node:test'
import { chooseBest } from '../../../src/sip/engine/proxy/best-response.ts'

// RFC 3261 section 16.7 step 6.

const best = (...statuses: number[]) => statuses[chooseBest(statuses)]

test('a 6xx before all, then the lowest class', () => {
  assert.equal(best(486, 603, 302), 603)
  assert.equal(best(500, 486, 302), 302)
  assert.equal(best(503, 404), 404)
})

test('within 4xx what tells the caller how to ask again; what tells nothing comes last', () => {
  assert.equal(best(486, 404, 401), 401)
  assert.equal(best(486, 484, 407), 407)
  assert.equal(best(408, 487, 486), 486)
  assert.equal(best(408, 430), 430)
  assert.equal(best(503, 504), 504)
})

test('the earlier of equals; nothing of nothing', () => {
  assert.equal(chooseBest([486, 404]), 0)
  assert.equal(chooseBest([404, 486]), 0)
  assert.equal(chooseBest([]), -1)
})
