import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { type Baresip, startBaresip } from '../support/baresip.ts'
import { until } from '../support/pair.ts'
import { startVaartha, type TestServer } from '../support/server.ts'

// A real softphone of another maker sends messages and takes them; its SIP trace shows what came.

let server: TestServer
const passwords = new Map<string, string>()
const open = new Set<Baresip>()

before(async () => {
  server = await startVaartha()
  for (const name of ['mum', 'dad']) passwords.set(name, await server.addUser(name))
})
after(async () => {
  for (const phone of open) await phone.close()
  await server?.close()
})

async function phone(user: string, ...contacts: string[]): Promise<Baresip> {
  const place = { domain: server.domain, server: `127.0.0.1:${server.ports.sip}` }
  const baresip = await startBaresip({ user, password: passwords.get(user)!, contacts, ...place })
  open.add(baresip)
  return baresip
}

/** A message as the trace of its receiver shows it, headers and body. */
const shown = (text: string) => new RegExp(`MESSAGE sip:[^\\r\\n]+\\r?\\n(?:[^\\r\\n]+\\r?\\n)*\\r?\\n${text}`, 'g')
const answered = (status: number) =>
  new RegExp(`SIP/2\\.0 ${status} [^\\r\\n]*\\r?\\n(?:[^\\r\\n]+\\r?\\n)*CSeq: \\d+ MESSAGE`)

test('baresip sends a message, baresip shows it; one for who is away comes when he registers', async () => {
  const mum = await phone('mum', `sip:dad@${server.domain}`)
  const dad = await phone('dad')
  await mum.command('message', 'dinner')
  const [got] = await Promise.all([dad.printed(shown('dinner'), 30_000), mum.printed(answered(200), 30_000)])
  assert.match(got, /From: .*<sip:mum@vaartha\.local>/)
  assert.match(got, /Content-Type: text\/plain/)

  await dad.close()
  open.delete(dad)
  await mum.command('message', 'later')
  await mum.printed(answered(202), 30_000)
  const back = await phone('dad')
  await back.printed(shown('later'), 30_000)
  await until(async () => (await server.api<{ kept: number }>('/api/messages/kept')).kept === 0, 30_000)
  assert.equal([...back.log().matchAll(shown('later'))].length, 1)
})
