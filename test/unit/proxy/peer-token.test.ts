import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createPeerTokens } from '../../../src/sip/engine/proxy/peer-token.ts'
import { readSip, requestText } from '../../support/fake-flow.ts'

// What lets one node choose a flow of another one: for one request, once, and in time, whatever the clocks say.

const [old, fresh] = ['the secret until yesterday', 'the secret from today on']
const invite = () => readSip(requestText('INVITE', { sequence: 7 }))

/** Node a, which holds flow c1, and node b, whose clock says something else. */
function createPair(secrets = { a: [old], b: [old] }) {
  const clock = { a: 5_000_000, b: 12 }
  const a = createPeerTokens('a-1', secrets.a, () => clock.a)
  const b = createPeerTokens('b-1', secrets.b, () => clock.b)
  const pass = (ms: number) => {
    clock.a += ms
    clock.b += ms
  }
  const read = (user: string, request = invite()) => a.read(user, request)
  return { a, b, pass, read, clock }
}

test('it opens the flow for the request that it was made for', () => {
  const { a, b, read } = createPair()
  const token = read(b.mint('a-1', 'c1', invite()))
  assert.equal(token?.flow, 'c1')
  assert.ok(a.claim(token))
})

test('it opens nothing for another request, node or flow', () => {
  const { b, read } = createPair()
  const user = b.mint('a-1', 'c1', invite())
  assert.equal(read(b.mint('a-0', 'c1', invite())), undefined)
  assert.equal(read(user, readSip(requestText('INVITE', { sequence: 8 }))), undefined)
  assert.equal(read(user, readSip(requestText('MESSAGE', { sequence: 7 }))), undefined)
  const redirected = invite()
  redirected.uri = 'sip:eve@198.51.100.9'
  assert.equal(read(user, redirected), undefined)
  assert.equal(read(user.replace(/c1$/, 'c2')), undefined)
  for (let at = 0; at < user.length; at++) {
    const changed = `${user.slice(0, at)}${user[at] === 'A' ? 'B' : 'A'}${user.slice(at + 1)}`
    assert.equal(read(changed), undefined)
    assert.equal(read(user.slice(0, at)), undefined)
  }
  assert.equal(createPair({ a: [fresh], b: [fresh] }).read(user), undefined)
})

test('it is good once, also when many are on their way', () => {
  const { a, b, read } = createPair()
  const users = Array.from({ length: 5000 }, () => b.mint('a-1', 'c1', invite()))
  const claims = users.map(user => a.claim(read(user)!))
  assert.ok(claims.every(Boolean))
  assert.ok(users.every(user => !a.claim(read(user)!)))
})

test('a few may overtake each other', () => {
  const { a, b, read } = createPair()
  const users = Array.from({ length: 500 }, () => b.mint('a-1', 'c1', invite())).reverse()
  assert.ok(users.every(user => a.claim(read(user)!)))
})

test('it is good for half a minute, and the wall clock has no say', () => {
  const { a, b, pass, read } = createPair()
  assert.ok(a.claim(read(b.mint('a-1', 'c1', invite()))!))
  const late = b.mint('a-1', 'c1', invite())
  const inTime = b.mint('a-1', 'c1', invite())
  pass(29_000)
  assert.ok(a.claim(read(inTime)!))
  pass(2000)
  assert.ok(!a.claim(read(late)!))
  pass(3_600_000)
  assert.ok(a.claim(read(b.mint('a-1', 'c1', invite()))!))
})

test('a secret can be changed node by node', () => {
  const { read, b } = createPair({ a: [old, fresh], b: [fresh, old] })
  assert.ok(read(b.mint('a-1', 'c1', invite())))
})
