import assert from 'node:assert/strict'
import { test } from 'node:test'
import { mayRecord } from '../../../src/calls/recording.ts'

test('who may have a call recorded', () => {
  const cases = [
    ['never', ['admin', 'user'], false],
    ['admins', ['admin', 'user'], true],
    ['admins', ['user'], false],
    ['admins', [], false],
    ['everybody', ['user'], true],
    ['everybody', [], true],
  ] as const
  for (const [rule, roles, may] of cases) assert.equal(mayRecord(rule, roles), may, `${rule} ${roles}`)
})
