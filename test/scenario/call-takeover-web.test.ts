import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { type Baresip, startBaresip } from '../support/baresip.ts'
import { openBrowser, type TestBrowser } from '../support/browser.ts'
import { type Pair, startPair, until } from '../support/pair.ts'
import { secondsOf } from '../support/tone.ts'
import { openWebPhone, webUrl } from '../support/web-phone.ts'

// A browser talks with a plain phone, so their media passes their node, and that is killed: the page connects to the other
// node by itself, and the media of both goes through that one.

const tones = { mum: 600, bob: 700 } as const
let pair: Pair
let browser: TestBrowser
const passwords: Record<string, string> = {}

before(async () => {
  pair = await startPair()
  browser = await openBrowser()
  for (const user of Object.keys(tones)) passwords[user] = await pair.addUser(user)
  await until(async () => (await fetch(webUrl(pair.a))).status === 200, 30_000)
})
after(async () => {
  await browser?.close()
  await pair?.close()
})

/** How long a phone has heard a tone so far, in all its calls. */
const heard = (phone: Baresip, hz: number) => phone.heard().reduce((sum, sound) => sum + secondsOf(sound, hz), 0)

test('a browser and a phone hear each other again at the other node, and the phone hangs up', async t => {
  const mum = await openWebPhone(browser, pair.a, { name: 'mum', password: passwords['mum']!, tone: tones.mum })
  const bob = await startBaresip({
    user: 'bob',
    password: passwords['bob']!,
    domain: pair.a.domain,
    server: `127.0.0.1:${pair.a.ports.sip}`,
    tone: tones.bob,
    answer: 'auto',
  })
  t.after(() => bob.kill())
  await mum.call('bob')
  await bob.event('CALL_ESTABLISHED', 15_000)
  await mum.hears([tones.bob])
  await until(() => heard(bob, tones.mum) > 0.6, 15_000)
  const [before] = await pair.a.api<{ id: string }[]>('/api/calls')

  const killed = performance.now()
  await pair.a.kill()
  // What was on its way has come when the other node has the call.
  await pair.calls(pair.b, 1, 10_000)
  const known = performance.now()
  const had = heard(bob, tones.mum)
  const times = await Promise.all([
    mum.hears([tones.bob]).then(() => performance.now()),
    until(() => heard(bob, tones.mum) > had + 0.2, 20_000).then(() => performance.now()),
  ])
  const [page, phone] = times.map(when => Math.round(when - killed))
  t.diagnostic(
    `call at the other node after ${Math.round(known - killed)} ms; from SIGKILL on the page heard after ${page} ms, the phone after ${phone} ms`,
  )

  const [now] = await pair.b.api<{ id: string }[]>('/api/calls')
  assert.equal(now?.id, before?.id)
  await bob.command('hangup')
  await mum.idle()
  await until(async () => (await pair.b.api<{ id: string }[]>('/api/history')).some(({ id }) => id === before?.id))
})
