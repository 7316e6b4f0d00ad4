import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Keys, press, pressPin } from '../../../src/groups/keys.ts'
import { readWish } from '../../../src/groups/wish.ts'

/** The commands of keys that are pressed `ms` apart. */
function commands(text: string, ms = 200): string[] {
  let keys: Keys
  const found: string[] = []
  for (const [at, digit] of [...text].entries()) {
    const step = press(keys, digit, at * ms)
    keys = step.keys
    if (step.command) found.push(step.command)
  }
  return found
}

test('a star and a key are a command, a key alone is none', () => {
  assert.deepEqual(commands('*6'), ['mute'])
  assert.deepEqual(commands('6*1*6'), ['count', 'mute'])
  assert.deepEqual(commands('**7'), ['lock'])
  assert.deepEqual(commands('66#5*56'), [])
  assert.deepEqual(commands('*4*9*0'), ['mute-others', 'record', 'end'])
  assert.deepEqual(commands('*6', 3001), [])
})

test('a PIN ends with #, begins anew with *, and a long one is not cut to a right one', () => {
  const type = (text: string) => {
    let typed = ''
    const pins: string[] = []
    for (const digit of text) {
      const step = pressPin(typed, digit)
      typed = step.typed
      if (step.pin !== undefined) pins.push(step.pin)
    }
    return pins
  }
  assert.deepEqual(type('4711#'), ['4711'])
  assert.deepEqual(type('99*4711#1#'), ['4711', '1'])
  assert.deepEqual(type('A4B7#'), ['47'])
  assert.equal(type(`${'1'.repeat(40)}#`)[0]!.length, 13)
})

test('what clients tell is read, and nonsense refused', () => {
  assert.deepEqual(readWish('{"epoch":7,"connected":[1,2],"failed":[]}'), {
    report: { epoch: 7, connected: new Set([1, 2]), failed: new Set(), ready: false },
  })
  assert.deepEqual(readWish('{"epoch":8,"ready":true}'), {
    report: { epoch: 8, connected: new Set(), failed: new Set(), ready: true },
  })
  assert.deepEqual(readWish('{"mesh":false}'), { mesh: false })
  assert.deepEqual(readWish('{"do":"mute","member":3,"more":1}'), { action: { do: 'mute', member: 3 } })
  assert.deepEqual(readWish('{"do":"lock"}'), { action: { do: 'lock' } })
  assert.deepEqual(readWish('{"do":"invite","user":"kid"}'), { action: { do: 'invite', user: 'kid' } })
  for (const wrong of [
    '',
    'null',
    '[]',
    '{}',
    '{"epoch":-1}',
    '{"epoch":1,"connected":["2"]}',
    `{"epoch":1,"connected":[${Array(65).fill(1)}]}`,
    '{"epoch":1,"failed":{}}',
    '{"do":"mute"}',
    '{"do":"mute","member":"3"}',
    '{"do":"constructor"}',
    '{"do":"invite","user":""}',
    `{"do":"invite","user":"${'a'.repeat(5000)}"}`,
  ]) {
    assert.throws(() => readWish(wrong), { code: 'bad-request' }, wrong.slice(0, 60))
  }
})
