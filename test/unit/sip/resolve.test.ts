import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createResolve, orderSrv } from '../../../src/sip/resolve.ts'

const record = (name: string, priority: number, weight: number) => ({ name, port: 5070, priority, weight })

test('SRV records go by priority, then are drawn by weight', () => {
  const records = [record('c', 20, 1), record('a', 10, 90), record('b', 10, 10)]
  assert.deepEqual(
    orderSrv(records, () => 0.05).map(r => r.name),
    ['b', 'a', 'c'],
  )
  assert.deepEqual(
    orderSrv(records, () => 0.99).map(r => r.name),
    ['a', 'b', 'c'],
  )
  assert.deepEqual(orderSrv([record('x', 1, 0), record('y', 1, 0)], () => 0.5).length, 2)
})

function fixed(srv: Record<string, ReturnType<typeof record>[]>, addresses: Record<string, string[]>) {
  const asked: string[] = []
  const resolve = createResolve({
    async lookup(name) {
      asked.push(name)
      return addresses[name] ?? []
    },
    async resolveSrv(name) {
      asked.push(name)
      return srv[name] ?? []
    },
    now: () => 0,
    random: () => 0,
  })
  return { resolve, asked }
}

test('without a port SRV is asked, UDP before TCP', async () => {
  const { resolve } = fixed({ '_sip._tcp.example.org': [record('one', 1, 1)] }, { one: ['192.0.2.1', '192.0.2.2'] })
  const targets = await resolve({ scheme: 'sip', host: 'example.org', port: undefined, transport: undefined })
  assert.deepEqual(
    targets.map(t => `${t.protocol} ${t.address}:${t.port} ${t.serverName}`),
    ['tcp 192.0.2.1:5070 example.org', 'tcp 192.0.2.2:5070 example.org'],
  )
})

test('a port rules SRV out; sips means TLS; a name without addresses gives nothing', async () => {
  const { resolve, asked } = fixed({}, { 'a.example.org': ['2001:db8::1'] })
  const [target] = await resolve({ scheme: 'sips', host: 'a.example.org', port: 5071, transport: undefined })
  assert.deepEqual(target, { protocol: 'tls', address: '2001:db8::1', port: 5071, serverName: 'a.example.org' })
  assert.deepEqual(asked, ['a.example.org'])
  assert.deepEqual(await resolve({ scheme: 'sip', host: 'b.example.org', port: 1, transport: undefined }), [])
  assert.deepEqual(await resolve({ scheme: 'sip', host: '192.0.2.9', port: undefined, transport: 'sctp' }), [])
})

test('asking twice within half a minute asks the name server once', async () => {
  const { resolve, asked } = fixed({}, { 'x.local': ['192.0.2.3'] })
  for (let turn = 0; turn < 3; turn++)
    await resolve({ scheme: 'sip', host: 'x.local', port: undefined, transport: 'tcp' })
  assert.deepEqual(asked, ['x.local'])
})
