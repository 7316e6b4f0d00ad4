import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { startVaartha, type TestServer } from '../support/server.ts'
import { runSipp, startSipp } from '../support/sipp.ts'

// Many calls by sipp, each with digest, through the B2BUA of the running program.

let server: TestServer
let mum: string
let callees: Record<string, string>

before(async () => {
  server = await startVaartha()
  mum = `[authentication username=mum password=${await server.addUser('mum')}]`
  callees = {}
  for (const name of ['dad', 'aunt'])
    callees[name] = `[authentication username=${name} password=${await server.addUser(name)}]`
})
after(() => server?.close())

const values = () => ({ DOMAIN: server.domain, PARAMS: '' })
const remote = () => `127.0.0.1:${server.ports.sip}`

for (const [protocol, transport, name] of [
  ['udp', 'u1', 'dad'],
  ['tcp', 't1', 'aunt'],
] as const) {
  test(`200 calls at 20 a second over ${protocol}, none lost, none left behind`, async t => {
    const callee = await startSipp({ scenario: 'answer', remote: remote(), calls: 200, transport, seconds: 90 })
    const registered = await runSipp({
      scenario: 'register',
      remote: remote(),
      values: { ...values(), PARAMS: `;transport=${protocol}` },
      lines: [`${name};${callees[name]};${callee.port}`],
    })
    t.after(() => callee.stop())
    assert.equal(registered.successful, 1, registered.text)
    const caller = await runSipp({
      scenario: 'call',
      remote: remote(),
      values: values(),
      lines: [`mum;${mum};${name}`],
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
