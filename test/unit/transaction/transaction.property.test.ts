import assert from 'node:assert/strict'
import { mock, test } from 'node:test'
import { createSilentLog } from '../../../src/log.ts'
import { createResponse } from '../../../src/sip/engine/message/message.ts'
import { createTransactionLayer } from '../../../src/sip/engine/transaction/layer.ts'
import { deriveTimers } from '../../../src/sip/engine/transaction/timers.ts'
import type { ClientTransaction, ServerTransaction } from '../../../src/sip/engine/transaction/transaction.ts'
import { createFakeFlow, readSip, requestText } from '../../support/fake-flow.ts'

// Whatever comes in whatever order: nothing throws, each transaction ends once, and nothing is left.

const statuses = [100, 180, 183, 200, 202, 302, 401, 486, 487, 503, 603]

function createRandom(seed: number) {
  let state = seed
  return (below: number) => {
    state = (state * 1103515245 + 12345) & 0x7fffffff
    return (state >> 8) % below
  }
}

async function play(seed: number): Promise<void> {
  const random = createRandom(seed)
  const flows = [createFakeFlow(), createFakeFlow({ protocol: 'tcp' })]
  const failures: unknown[] = []
  const log = Object.assign(createSilentLog(), { error: (...args: unknown[]) => failures.push(args) })
  const servers: ServerTransaction[] = []
  const clients: ClientTransaction[] = []
  let begun = 0
  let over = 0
  const layer = createTransactionLayer({
    timers: deriveTimers({ t1: 10, t2: 80, t4: 100, timerC: 1000 }),
    unansweredMs: 2000,
    openFlow: () => (random(2) ? Promise.resolve(flows[random(2)]!) : Promise.reject(new Error('no way'))),
    user: {
      onRequest(transaction) {
        begun++
        transaction.onEnd = () => over++
        servers.push(transaction)
      },
      onAck() {},
      onStrayResponse() {},
    },
    log,
    now: () => Date.now(),
  })
  const methods = ['INVITE', 'OPTIONS', 'ACK', 'CANCEL', 'BYE']
  for (let step = 0; step < 60; step++) {
    const flow = flows[random(2)]!
    const n = random(3)
    switch (random(8)) {
      case 0:
      case 1: {
        const text = requestText(methods[random(5)]!, { branch: `z9hG4bK${n}`, callId: `c${n}`, fromTag: `${n}` })
        layer.onMessage(readSip(text), flow, text.length)
        break
      }
      case 2:
      case 3: {
        const server = servers[random(servers.length || 1)]
        server?.respond(createResponse(server.request, statuses[random(statuses.length)]!))
        break
      }
      case 4: {
        const request = readSip(requestText(methods[random(2)]!))
        request.remove('Via')
        begun++
        const user = { onResponse() {}, onTimeout() {}, onTransportError() {}, onEnd: () => over++ }
        clients.push(layer.send(request, flow, user))
        break
      }
      case 5: {
        const client = clients[random(clients.length || 1)]
        if (!client) break
        const bytes = createResponse(client.request, statuses[random(statuses.length)]!).toBuffer()
        layer.onMessage(readSip(bytes), client.flow, bytes.length)
        if (client.invite && random(3) === 0) client.cancel()
        break
      }
      case 6:
        flow.broken = random(4) ? undefined : new Error('broken')
        if (random(8) === 0) layer.onFlowClosed(flow)
        flow.closed = flow.reliable && random(6) === 0
        break
      default:
        mock.timers.tick(random(400))
        await new Promise<void>(resolve => process.nextTick(resolve))
    }
  }
  for (let round = 0; round < 12; round++) {
    mock.timers.tick(700)
    await new Promise<void>(resolve => process.nextTick(resolve))
  }
  assert.deepEqual([failures, layer.stats(), over], [[], { server: 0, client: 0 }, begun], `seed ${seed}`)
  layer.close()
}

test('random traffic: no failure, every transaction ends once, nothing is left', async () => {
  mock.timers.enable({ apis: ['setTimeout', 'Date'] })
  try {
    for (let seed = 1; seed <= 150; seed++) await play(seed)
  } finally {
    mock.timers.reset()
  }
})
