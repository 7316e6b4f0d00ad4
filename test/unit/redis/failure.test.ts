import assert from 'node:assert/strict'
import { it } from 'node:test'
import { inWords, isBug, wantsNewConnection } from '../../../src/redis/failure.ts'

const reply = (message: string) => Object.assign(new Error(message), { name: 'ReplyError' })

it('tells a Redis that does not serve from a mistake of ours', () => {
  const old = reply("ERR Error running script (call to f_1): @user_script:3: -READONLY You can't write against it. ")
  for (const error of [reply('LOADING Redis is loading'), reply("READONLY You can't write"), old]) {
    assert.equal(isBug(error), false, error.message)
  }
  for (const error of [
    reply('ERR unknown command'),
    reply('WRONGTYPE Operation'),
    new TypeError('x is not a function'),
  ]) {
    assert.equal(isBug(error), true, error.message)
  }
  assert.equal(isBug(new Error('Connection is closed.')), false)
  assert.deepEqual([wantsNewConnection(old), wantsNewConnection(reply('OOM command'))], [true, false])
  assert.equal(inWords(old, 10), 'is read-only: it is a replica')
  assert.equal(inWords(new Error('Command timed out'), 10), 'does not answer within 10 ms')
  const refused = Object.assign(new Error('connect ECONNREFUSED 192.0.2.1:6379'), { code: 'ECONNREFUSED' })
  assert.equal(inWords(refused, 10), 'cannot be reached: ECONNREFUSED')
})
