import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isDue, nextDue } from '../../../src/drill/schedule.ts'

const monthly = { when: 'monthly', hour: 4 } as const
const at = (day: number, hour: number, month = 2) => new Date(2026, month, day, hour, 30)
const done = (day: number, month = 2) => [{ began: at(day, 4, month).toISOString(), result: 'passed' as const }]
const skipped = (day: number) => [{ began: at(day, 4).toISOString(), result: 'skipped' as const }]

test('never is never', () => {
  assert.equal(isDue({ when: 'never', hour: 4 }, at(1, 4), []), false)
  assert.equal(nextDue({ when: 'never', hour: 4 }, at(1, 4), []), undefined)
})

test('once a month, in its hour', () => {
  assert.equal(isDue(monthly, at(1, 4), []), true)
  assert.equal(isDue(monthly, at(1, 3), []), false)
  assert.equal(isDue(monthly, at(1, 5), []), false)
  assert.equal(isDue(monthly, at(9, 4), done(1)), false)
  assert.equal(isDue(monthly, at(1, 4), done(28, 1)), true)
  assert.equal(isDue(monthly, new Date(2027, 2, 1, 4, 30), done(1)), true)
})

test('one that was skipped comes the next day, and not again in the same hour', () => {
  assert.equal(isDue(monthly, at(1, 4), skipped(1)), false)
  assert.equal(isDue(monthly, at(2, 4), skipped(1)), true)
})

test('when the next one is', () => {
  assert.deepEqual(nextDue(monthly, at(9, 12), []), new Date(2026, 2, 10, 4))
  assert.deepEqual(nextDue(monthly, at(9, 3), []), new Date(2026, 2, 9, 4))
  assert.deepEqual(nextDue(monthly, at(9, 4), []), new Date(2026, 2, 9, 4))
  assert.deepEqual(nextDue(monthly, at(9, 12), done(1)), new Date(2026, 3, 1, 4))
  assert.deepEqual(nextDue(monthly, at(9, 4), skipped(9)), new Date(2026, 2, 10, 4))
})
