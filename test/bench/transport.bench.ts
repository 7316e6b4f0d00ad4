import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
import { createEvents } from '../../src/events.ts'
import { createSilentLog } from '../../src/log.ts'
import { createAllowed } from '../../src/network/allowed.ts'
import { createTransportLayer } from '../../src/sip/engine/transport/layer.ts'
import { limits } from '../support/limits.ts'
import { loopback } from '../support/loopback.ts'

// CPU microseconds of this thread per UDP message: received, parsed and handed up; and sent. The peer is a thread of its
// own that keeps a window of messages under way, so that none is lost and its own work is not counted.
const messages = 30_000
const text = [
  'REGISTER sip:home.test SIP/2.0',
  'Via: SIP/2.0/UDP 127.0.0.1:5060;branch=z9hG4bK776asdhds;rport',
  'Max-Forwards: 70',
  'From: "Mum" <sip:mum@home.test>;tag=456248',
  'To: "Mum" <sip:mum@home.test>',
  'Call-ID: 843817637684230@998sdasdh09',
  'CSeq: 1826 REGISTER',
  'Contact: <sip:mum@127.0.0.1:5060>;expires=3600',
  'User-Agent: bench',
  'Content-Length: 0',
  '',
  '',
].join('\r\n')
// The peer counts each answer of one byte as a place in the window that is free again.
const peer = `
  const { parentPort, workerData } = require('node:worker_threads')
  const socket = require('node:dgram').createSocket({ type: 'udp4', recvBufferSize: 4 << 20 })
  const bytes = Buffer.from(workerData.text)
  let left = 0
  const next = () => { if (left-- > 0) socket.send(bytes, workerData.port, '127.0.0.1') }
  socket.on('message', () => next())
  socket.bind(0, '127.0.0.1', () => parentPort.postMessage(socket.address().port))
  parentPort.on('message', count => { left = count; for (let i = 0; i < 64; i++) next() })
`

let arrived = 0
let finished = () => {}
let target = 0
const small = Buffer.from('x')
const back = createSocket('udp4')
const layer = createTransportLayer({
  config: {
    ...{ udp: 1, tcp: 0, tls: 0, ws: 0, wss: 0 },
    limits,
    connections: { most: 10, mostPerAddress: 10, idleSeconds: 60, connectSeconds: 5 },
  },
  addresses: { current: () => [loopback], onChange: () => () => {} },
  allowed: createAllowed([]),
  user: {
    onMessage(message, flow) {
      if (message.cseq.method !== 'REGISTER') throw new Error('wrong message')
      arrived++
      back.send(small, flow.remote.port, flow.remote.address)
      if (arrived === target) finished()
    },
    onMalformed: failure => {
      throw failure
    },
    onFlowClosed: () => {},
  },
  events: createEvents(),
  log: createSilentLog(),
  ports: 'ephemeral',
})
await layer.listen()

function report(what: string, count: number, since: NodeJS.CpuUsage, began: number): void {
  const used = process.threadCpuUsage(since)
  const micros = (used.user + used.system) / count
  const rate = count / ((performance.now() - began) / 1000)
  process.stdout.write(`${what}: ${micros.toFixed(1)} µs CPU, ${Math.round(rate)} messages/s\n`)
}

const worker = new Worker(peer, { eval: true, workerData: { text, port: layer.points()[0]!.port } })
await once(worker, 'message')

async function receive(name: string): Promise<void> {
  arrived = 0
  target = messages
  const done = new Promise<void>(resolve => (finished = resolve))
  const [cpu, began] = [process.threadCpuUsage(), performance.now()]
  worker.postMessage(messages)
  await Promise.race([done, new Promise(resolve => setTimeout(resolve, 3000).unref())])
  report(`${name}, with a datagram of one byte back (${messages - arrived} lost)`, arrived, cpu, began)
}

async function send(name: string, one: (done: () => void) => void): Promise<void> {
  const [cpu, began] = [process.threadCpuUsage(), performance.now()]
  for (let sent = 0; sent < messages; sent += 100) {
    await new Promise<void>(resolve => {
      let left = 100
      const done = () => {
        if (--left === 0) resolve()
      }
      for (let i = 0; i < 100; i++) one(done)
    })
  }
  report(name, messages, cpu, began)
}

await receive('received, parsed, handed up (warming up)')
await receive('received, parsed, handed up')
const bytes = Buffer.from(text)
const sink = createSocket('udp4')
sink.bind(0, '127.0.0.1')
await once(sink, 'listening')
const sinkPort = sink.address().port
await send('sent through the layer', done => {
  layer.find({ protocol: 'udp', address: '127.0.0.1', port: sinkPort })!.send(bytes)
  setImmediate(done)
})
await send('sent by a bare socket', done => back.send(bytes, sinkPort, '127.0.0.1', () => done()))
await worker.terminate()
sink.close()
back.close()
await layer.close()
