import { createSilentLog } from '../../src/log.ts'
import { createResponse } from '../../src/sip/engine/message/message.ts'
import { parseMessage } from '../../src/sip/engine/message/parser.ts'
import { createTransactionLayer } from '../../src/sip/engine/transaction/layer.ts'
import { deriveTimers } from '../../src/sip/engine/transaction/timers.ts'
import type { Flow } from '../../src/sip/engine/transport/transport.ts'
import { createFakeFlow, requestText } from '../support/fake-flow.ts'
import { limits } from '../support/limits.ts'

// CPU time of a transaction, from the bytes of the request to those of its final answer, and what is kept of it
// afterwards. The timers are those of RFC 3261, so that everything of a run is still remembered when it ends.

const timers = deriveTimers({ t1: 500, t2: 4000, t4: 5000, timerC: 180_000 })
const flow: Flow = { ...createFakeFlow(), send() {} }

function measure(name: string, count: number, method: string, run: (bytes: Buffer, n: number) => void): void {
  const requests = Array.from({ length: count }, (_, n) =>
    Buffer.from(requestText(method, { branch: `z9hG4bK${n}`, callId: `c${n}`, fromTag: `t${n}` })),
  )
  globalThis.gc?.()
  const before = process.memoryUsage()
  const start = process.cpuUsage()
  for (let n = 0; n < count; n++) run(requests[n]!, n)
  const used = process.cpuUsage(start)
  globalThis.gc?.()
  const after = process.memoryUsage()
  const each = (used.user + used.system) / count
  const kept = (after.heapUsed + after.external - before.heapUsed - before.external) / count
  const memory = globalThis.gc ? `, ${kept.toFixed(0)} B kept` : ' (memory: run with --expose-gc)'
  process.stdout.write(`${name}: ${each.toFixed(1)} µs${memory}\n`)
}

function create(status: number) {
  return createTransactionLayer({
    timers,
    openFlow: () => Promise.reject(new Error('no way')),
    user: {
      onRequest(transaction) {
        const response = createResponse(transaction.request, status)
        response.set('To', `${response.get('To')};tag=t`)
        transaction.respond(response)
      },
      onAck() {},
      onStrayResponse() {},
    },
    log: createSilentLog(),
  })
}

for (const round of ['cold', 'warm']) {
  for (const [method, status] of [
    ['OPTIONS', 200],
    ['INVITE', 200],
    ['INVITE', 486],
  ] as const) {
    const layer = create(status)
    measure(`${round}: ${method} answered ${status} (server, UDP)`, 15_000, method, bytes => {
      layer.onMessage(parseMessage(bytes, limits), flow, bytes.length)
    })
    layer.close()
  }
  const layer = create(200)
  const user = { onResponse() {}, onTimeout() {}, onTransportError() {} }
  measure(`${round}: OPTIONS answered 200 (client, UDP)`, 15_000, 'OPTIONS', bytes => {
    const request = parseMessage(bytes, limits)
    request.remove('Via')
    const client = layer.send(request, flow, user)
    const response = createResponse(client.request, 200).toBuffer()
    layer.onMessage(parseMessage(response, limits), flow, response.length)
  })
  layer.close()
}
