import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { startVaartha, type TestServer } from '../support/server.ts'
import { runSipp, startSipp } from '../support/sipp.ts'

// Many calls by sipp, each with digest, through the B2BUA of the running program.

let server: TestServer
let mum: string
let dad: string

before(async () => {
  server = await startVaartha()
  mum = `[authentication username=mum password=${await server.addUser('mum')}]`
  dad = `[authentication username=dad password=${await server.addUser('dad')}]`
})
after(() => server?.close())

const values = () => ({ DOMAIN: server.domain })
const remote = () => `127.0.0.1:${server.ports.sip}`

for (const [protocol, transport] of [
  ['UDP', 'u1'],
  ['TCP', 't1'],
] as const) {
  test(`200 calls at 20 a second over ${protocol}, none lost, none left behind`, async t => {
    const callee = await startSipp({ scenario: 'answer', remote: remote(), calls: 200, transport, seconds: 90 })
    const contact = transport === 't1' ? `${callee.port};transport=tcp` : String(callee.port)
    const registered = await runSipp({
      scenario: 'register',
      remote: remote(),
      values: values(),
      lines: [`dad;${dad};${contact}`],
    })
    t.after(() => callee.stop())
    assert.equal(registered.successful, 1, registered.text)
    const caller = await runSipp({
      scenario: 'call',
      remote: remote(),
      values: values(),
      lines: [`mum;${mum};dad`],
      calls: 200,
      rate: 20,
      transport,
      seconds: 90,
    })
    assert.deepEqual([caller.successful, caller.failed], [200, 0], caller.text)
    const answered = await callee.done
    assert.deepEqual([answered.successful, answered.failed], [200, 0], answered.text)
    assert.deepEqual(await server.api('/api/calls'), [])
  })
}
