import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createRoutes } from '../../../src/sip/engine/wire/routes.ts'
import { parseCommand, parseDuration, stackTime, VerbError } from '../../../src/sip/engine/wire/verbs.ts'

const parse = (text: string) => parseCommand(Buffer.from(text))

test('leaders are read by name', () => {
  assert.deepEqual(parse('a1|authenticate|s3|one,two'), {
    verb: 'authenticate',
    id: 'a1',
    secret: 's3',
    tags: ['one', 'two'],
  })
  assert.deepEqual(parse('a1|authenticate|s3'), { verb: 'authenticate', id: 'a1', secret: 's3', tags: [] })
  assert.deepEqual(parse('m|route|INVITE'), { verb: 'route', id: 'm', name: 'invite' })
  assert.deepEqual(parse('m|ping'), { verb: 'ping', id: 'm' })
})

test('the body is all that follows the empty line, whatever Content-Length says', () => {
  const command = parse(
    'm|sip||d;from-tag=1|sip:10.0.0.1\r\nINFO sip:placeholder SIP/2.0\r\ncontent-length: 1\r\n\r\nü|é\r\n\r\nend',
  )
  assert.equal(command.verb, 'sip')
  if (command.verb !== 'sip') return
  assert.equal(command.dialog, 'd;from-tag=1')
  assert.equal(command.nextHop, 'sip:10.0.0.1')
  assert.equal(command.sip.startLine, 'INFO sip:placeholder SIP/2.0')
  assert.deepEqual(command.sip.headers, [['content-length', '1']])
  assert.equal(command.sip.body.toString(), 'ü|é\r\n\r\nend')
})

test('header bytes are kept', () => {
  const command = parse('m|sip|t|\r\nSIP/2.0 200 OK\r\nsubject: grüß\r\n more')
  if (command.verb !== 'sip') return assert.fail()
  assert.equal(Buffer.from(command.sip.headers[0]![1], 'latin1').toString(), 'grüß more')
})

test('proxy fields are read by place', () => {
  const command = parse(
    'm|proxy|t|remainInDialog|fullResponse||simultaneous|2s||sip:a@b|sip:c@d\r\nINVITE sip:x SIP/2.0\r\n\r\n',
  )
  assert.equal(command.verb, 'proxy')
  if (command.verb !== 'proxy') return
  assert.deepEqual(command.options, {
    recordRoute: true,
    fullResponse: true,
    followRedirects: false,
    forking: 'simultaneous',
    provisionalTimeoutMs: 2000,
    finalTimeoutMs: undefined,
    targets: ['sip:a@b', 'sip:c@d'],
  })
})

test('what is no command is refused', () => {
  for (const text of ['', 'x', 'm|noop', 'm|sip|t|', '|ping']) assert.throws(() => parse(text), VerbError, text)
})

test('durations and times', () => {
  assert.equal(parseDuration('700ms'), 700)
  assert.equal(parseDuration('3'), 3000)
  assert.equal(parseDuration('soon'), undefined)
  assert.equal(stackTime(new Date(Date.UTC(2026, 0, 1, 1, 2, 3, 4))), '01:02:03.004000')
})

test('routes go round, are idempotent and end one by one', () => {
  const routes = createRoutes<string>()
  routes.add('invite', 'a')
  routes.add('invite', 'a')
  routes.add('invite', 'b')
  routes.add('register', 'a')
  const turns = [routes.next('invite'), routes.next('invite'), routes.next('invite'), routes.next('invite')]
  assert.deepEqual(turns.toSorted(), ['a', 'a', 'b', 'b'])
  routes.remove('invite', 'a')
  assert.equal(routes.next('invite'), 'b')
  assert.equal(routes.next('register'), 'a')
  routes.removeAll('b')
  assert.equal(routes.next('invite'), undefined)
  assert.deepEqual(routes.verbs(), ['register'])
})
