import assert from 'node:assert/strict'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { after, before, test } from 'node:test'
import { torture } from '../data/torture/torture.ts'
import { startVaartha, type TestServer } from '../support/server.ts'

// The messages that RFC 4475 describes, sent to the running program: each gets the answer that the RFC demands, and the
// server goes on serving.

let server: TestServer
before(async () => {
  server = await startVaartha()
})
after(() => server?.close())

/** A socket of its own for each message, so that a late answer is never taken for another one's. */
async function sendAndProbe(bytes: Buffer, answered: boolean): Promise<number[]> {
  const socket = createSocket('udp4').bind(0, '127.0.0.1')
  await once(socket, 'listening')
  const finals: number[] = []
  let heard = () => {}
  const mark = `probe${Math.random().toString(36).slice(2)}`
  let probed = false
  socket.on('message', data => {
    const text = data.toString('latin1')
    const status = Number(/^SIP\/2\.0 (\d+)/.exec(text)?.[1] ?? 0)
    if (text.includes(mark)) probed = true
    else if (status >= 200) finals.push(status)
    heard()
  })
  const until = (met: () => boolean, what: string) =>
    new Promise<void>((done, failed) => {
      const timer = setTimeout(() => failed(new Error(`no ${what} in 5 s`)), 5000)
      heard = () => {
        if (!met()) return
        clearTimeout(timer)
        done()
      }
      heard()
    })
  try {
    socket.send(bytes, server.ports.sip, '127.0.0.1')
    if (answered) await until(() => finals.length > 0, 'answer')
    socket.send(options(mark, socket.address().port), server.ports.sip, '127.0.0.1')
    await until(() => probed, 'answer to OPTIONS afterwards')
  } finally {
    socket.close()
  }
  return finals
}

let count = 0

/** The messages share a branch and a Call-ID; without this they were retransmissions of one another. */
function asOwnTransaction(bytes: Buffer): Buffer {
  const own = String(++count)
  const text = bytes.toString('latin1')
  return Buffer.from(
    text.replaceAll('z9hG4bKtorture', `z9hG4bKt${own}`).replaceAll('torture.1@', `torture.${own}@`),
    'latin1',
  )
}

function options(mark: string, port: number): string {
  return [
    `OPTIONS sip:127.0.0.1:${server.ports.sip} SIP/2.0`,
    `Via: SIP/2.0/UDP 127.0.0.1:${port};branch=z9hG4bK${mark};rport`,
    'From: <sip:probe@127.0.0.1>;tag=1',
    'To: <sip:127.0.0.1>',
    `Call-ID: ${mark}`,
    'CSeq: 1 OPTIONS',
    'Max-Forwards: 70',
    'Content-Length: 0',
    '\r\n',
  ].join('\r\n')
}

// What is found out by looking at the meaning comes after asking who it is (RFC 3261 section 8.2).
const afterProof = [404, 406, 415, 420]

for (const { name, section, bytes, expect, note } of torture) {
  test(`${name} (RFC 4475 section ${section}): ${note}`, async () => {
    const [first, ...more] = await sendAndProbe(asOwnTransaction(bytes), typeof expect === 'number')
    assert.deepEqual(more, [], 'one answer is enough')
    if (expect === 'drop') assert.equal(first, undefined)
    else if (expect === 'accept')
      assert.ok(first === undefined || ![400, 500, 505, 513].includes(first), `answered ${first}`)
    else if (afterProof.includes(expect)) assert.ok([expect, 401, 407].includes(first!), `answered ${first}`)
    else assert.equal(first, expect)
  })
}
