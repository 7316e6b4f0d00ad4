import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { type Baresip, startBaresip } from '../support/baresip.ts'
import { startVaartha, type TestServer } from '../support/server.ts'
import { secondsOf } from '../support/tone.ts'

// Calls die at 32 seconds where an ACK or a Contact is wrong, and at the session timer where nobody refreshes.

let server: TestServer
const passwords: Record<string, string> = {}

before(async () => {
  server = await startVaartha({ settings: { VAARTHA_CALLS_SESSION_EXPIRES: '90', VAARTHA_CALLS_MIN_SE: '90' } })
  for (const name of ['mum', 'dad', 'kid', 'aunt']) passwords[name] = await server.addUser(name)
})
after(() => server?.close())

const start = (user: string, tone: number, transport: 'udp' | 'tcp') =>
  startBaresip({
    user,
    password: passwords[user]!,
    domain: server.domain,
    server: `127.0.0.1:${server.ports.sip}`,
    tone,
    transport,
  })

async function talk(from: Baresip, to: Baresip, seconds: number): Promise<void> {
  try {
    await from.command('dial', `sip:${to.user}@${server.domain}`)
    await to.event('CALL_INCOMING')
    await to.command('accept')
    await Promise.all([from.event('CALL_ESTABLISHED'), to.event('CALL_ESTABLISHED')])
    // The length of the call is what is tested.
    await new Promise(done => setTimeout(done, seconds * 1000))
    for (const phone of [from, to]) {
      assert.ok(
        !phone.events.some(event => event.type === 'CALL_CLOSED'),
        `${phone.user} lost the call\n${phone.log().slice(-3000)}`,
      )
    }
    assert.ok(
      Math.max(...from.heard().map(sound => secondsOf(sound, 660))) > seconds * 0.9,
      'caller hears the callee throughout',
    )
    assert.ok(
      Math.max(...to.heard().map(sound => secondsOf(sound, 440))) > seconds * 0.9,
      'callee hears the caller throughout',
    )
    await from.command('hangup')
    await to.event('CALL_CLOSED')
  } finally {
    await Promise.all([from.close(), to.close()])
  }
}

// Both at the same time: the shorter one costs nothing.
describe('long calls', { concurrency: true }, () => {
  test('35 seconds over TCP', async () => {
    await talk(await start('kid', 440, 'tcp'), await start('aunt', 660, 'tcp'), 35)
  })

  test('three minutes over UDP with a session timer of 90 seconds, refreshed on each leg', async () => {
    const [mum, dad] = [await start('mum', 440, 'udp'), await start('dad', 660, 'udp')]
    await talk(mum, dad, 180)
    for (const phone of [mum, dad]) {
      const refreshes = phone.log().match(/127\.0\.0\.1:\d+ -> 127\.0\.0\.1:\d+\r?\n(?:INVITE|UPDATE) sip:/g) ?? []
      assert.ok(refreshes.length >= 3, `${phone.user}: ${refreshes.length} requests that could be refreshes`)
    }
  })
})
