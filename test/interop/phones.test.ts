import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import type { CallRecord } from '../../src/records/records.ts'
import { type Baresip, startBaresip } from '../support/baresip.ts'
import { startVaartha, type TestServer } from '../support/server.ts'
import { secondsOf } from '../support/tone.ts'

// Real softphones of another maker on the real program: what a family does with its telephone.

let server: TestServer
const passwords = new Map<string, string>()
const open = new Set<Baresip>()

before(async () => {
  server = await startVaartha({ settings: { VAARTHA_CALLS_RING_SECONDS: '5' } })
  for (const name of ['mum', 'dad', 'kid'])
    passwords.set(name, await server.addUser(name, name === 'mum' ? 'Mum at home' : undefined))
})
after(() => server?.close())

const tones: Record<string, number> = { mum: 440, dad: 660, kid: 880 }

async function phone(user: string, more: Partial<Parameters<typeof startBaresip>[0]> = {}): Promise<Baresip> {
  const port = more.transport === 'tls' ? server.ports.tls : server.ports.sip
  const baresip = await startBaresip({
    user,
    password: passwords.get(user)!,
    domain: server.domain,
    server: `127.0.0.1:${port}`,
    tone: tones[user]!,
    ...more,
  })
  open.add(baresip)
  return baresip
}

/** Gives a test its phones and takes them away afterwards, whatever happens. */
function phoneTest(name: string, run: () => Promise<void>): void {
  test(name, async () => {
    try {
      await run()
    } finally {
      await Promise.all([...open].map(baresip => baresip.close()))
      open.clear()
    }
  })
}

const uri = (user: string) => `sip:${user}@${server.domain}`

/** Resolves when `phone` has heard `hz` for at least `seconds` in one of its calls. */
async function hears(baresip: Baresip, hz: number, seconds: number): Promise<void> {
  const until = Date.now() + 15_000
  for (;;) {
    const longest = Math.max(0, ...baresip.heard().map(sound => secondsOf(sound, hz)))
    if (longest >= seconds) return
    if (Date.now() > until)
      assert.fail(`${baresip.user} heard ${hz} Hz for ${longest} s only\n${baresip.log().slice(-3000)}`)
    await new Promise(done => setTimeout(done, 100))
  }
}

async function call(from: Baresip, to: Baresip): Promise<void> {
  await from.command('dial', uri(to.user))
  await to.event('CALL_INCOMING')
  await to.command('accept')
  await Promise.all([from.event('CALL_ESTABLISHED'), to.event('CALL_ESTABLISHED')])
}

async function lastRecord(): Promise<CallRecord> {
  const { stdout, code } = await server.cli('calls', '--history', '--json')
  assert.equal(code, 0)
  return (JSON.parse(stdout) as CallRecord[])[0]!
}

for (const transport of ['udp', 'tcp', 'tls'] as const) {
  phoneTest(`registers over ${transport} and is in the list`, async () => {
    await phone('mum', { transport })
    const { bindings } = await server.api<{ bindings: { aor: string; protocol: string }[] }>('/api/registrations')
    assert.deepEqual(
      bindings.map(b => [b.aor, b.protocol]),
      [[uri('mum'), transport]],
    )
  })
}

phoneTest('a wrong password is refused and tells nothing', async () => {
  await assert.rejects(phone('mum', { password: 'not the password' }), /401 Unauthorized/)
})

phoneTest('a call is answered, both hear each other, the caller hangs up, and there is a record', async () => {
  const [mum, dad] = [await phone('mum'), await phone('dad')]
  await call(mum, dad)
  assert.match(dad.log(), /From: "Mum at home" <sip:mum@/)
  await Promise.all([hears(mum, tones['dad']!, 2), hears(dad, tones['mum']!, 2)])
  assert.ok(
    mum.heard().every(sound => secondsOf(sound, tones['mum']!) === 0),
    'nobody hears himself',
  )
  await mum.command('hangup')
  await dad.event('CALL_CLOSED')
  const record = await lastRecord()
  assert.deepEqual([record.from, record.to, record.result], [uri('mum'), uri('dad'), 'answered'])
  assert.ok(record.seconds >= 2)
})

phoneTest('the called one hangs up, over TCP and TLS', async () => {
  const [mum, dad] = [await phone('mum', { transport: 'tcp' }), await phone('dad', { transport: 'tls' })]
  await call(mum, dad)
  await Promise.all([hears(mum, tones['dad']!, 1), hears(dad, tones['mum']!, 1)])
  await dad.command('hangup')
  await mum.event('CALL_CLOSED')
})

phoneTest('the caller gives up while it rings', async () => {
  const [mum, dad] = [await phone('mum'), await phone('dad')]
  await mum.command('dial', uri('dad'))
  await Promise.all([dad.event('CALL_INCOMING'), mum.event('CALL_RINGING')])
  await mum.command('hangup')
  await dad.event('CALL_CLOSED')
  assert.equal((await lastRecord()).result, 'cancelled')
})

phoneTest('a busy phone says so', async () => {
  const [mum, dad] = [await phone('mum'), await phone('dad')]
  await mum.command('dial', uri('dad'))
  await dad.event('CALL_INCOMING')
  await dad.command('hangup')
  const closed = await mum.event('CALL_CLOSED')
  assert.match(closed.param ?? '', /486|Busy/)
  assert.equal((await lastRecord()).result, 'busy')
})

phoneTest('nobody answers', async () => {
  const [mum, dad] = [await phone('mum'), await phone('dad')]
  await mum.command('dial', uri('dad'))
  await dad.event('CALL_INCOMING')
  await mum.event('CALL_CLOSED', 15_000)
  await dad.event('CALL_CLOSED')
  assert.equal((await lastRecord()).result, 'no-answer')
})

phoneTest('nobody of that name, and nobody registered', async () => {
  const mum = await phone('mum')
  await mum.command('dial', uri('granny'))
  assert.match((await mum.event('CALL_CLOSED')).param ?? '', /404/)
  await mum.command('dial', uri('dad'))
  assert.match((await mum.event('CALL_CLOSED')).param ?? '', /480/)
})

phoneTest('hold and resume: packets flow again', async () => {
  const [mum, dad] = [await phone('mum'), await phone('dad')]
  await call(mum, dad)
  await hears(dad, tones['mum']!, 1)
  await mum.command('hold')
  await dad.printed(/a=(sendonly|inactive)/)
  await mum.command('resume')
  await mum.printed(/a=(sendonly|inactive)[\s\S]*a=sendrecv/)
  // Its recorder stops at the first hold, so packets are counted, which takes it one RTCP interval (5 s).
  const before = Math.max(...dad.heard().map(sound => sound.samples.length)) / 160
  await new Promise(talked => setTimeout(talked, 6000))
  await mum.command('hangup')
  await dad.event('CALL_CLOSED')
  assert.ok((await dad.received()) > before + 200)
})

phoneTest('blind transfer: dad sends mum on to kid', async () => {
  const [mum, dad, kid] = [await phone('mum'), await phone('dad'), await phone('kid')]
  await call(mum, dad)
  await dad.command('transfer', uri('kid'))
  await kid.event('CALL_INCOMING')
  await kid.command('accept')
  await kid.event('CALL_ESTABLISHED')
  await Promise.all([hears(kid, tones['mum']!, 1), hears(mum, tones['kid']!, 1)])
  await dad.event('CALL_CLOSED')
  await kid.command('hangup')
  await mum.event('CALL_CLOSED')
})

phoneTest('attended transfer: dad asks kid first, then connects mum and kid', async () => {
  const [mum, dad, kid] = [await phone('mum'), await phone('dad'), await phone('kid')]
  await call(mum, dad)
  const first = dialogOfIncoming(dad)
  await dad.command('hold')
  await call(dad, kid)
  // REFER in the call with the kid, to mum, replacing dad's call with her (RFC 3891).
  const replaces = encodeURIComponent(`${first.callId};to-tag=${first.remoteTag};from-tag=${first.localTag}`)
  await dad.command('transfer', `${uri('mum')}?Replaces=${replaces}`)
  await Promise.all([hears(kid, tones['mum']!, 1), dad.event('CALL_CLOSED')])
  await kid.command('hangup')
  await mum.event('CALL_CLOSED')
})

/** The dialog of the last INVITE that a phone answered, from its SIP trace. */
function dialogOfIncoming(baresip: Baresip): { callId: string; localTag: string; remoteTag: string } {
  const answer = baresip
    .log()
    .match(/SIP\/2\.0 200 [^\n]*\r?\n(?:[^\n]+\r?\n)*?CSeq: \d+ INVITE/g)!
    .at(-1)!
  const value = (pattern: RegExp) => pattern.exec(answer)![1]!
  return {
    callId: value(/Call-ID: (\S+)/i),
    localTag: value(/To: .*tag=([^\s;]+)/i),
    remoteTag: value(/From: .*tag=([^\s;]+)/i),
  }
}

phoneTest('two devices ring, one answers, the other one stops', async () => {
  const [mum, dad, other] = [await phone('mum'), await phone('dad'), await phone('dad')]
  await mum.command('dial', uri('dad'))
  await Promise.all([dad.event('CALL_INCOMING'), other.event('CALL_INCOMING')])
  await other.command('accept')
  await Promise.all([mum.event('CALL_ESTABLISHED'), dad.event('CALL_CLOSED')])
  await dad.printed(/Reason: SIP\s*;cause=200\s*;text="Call completed elsewhere"/i)
  await mum.command('hangup')
  await other.event('CALL_CLOSED')
})

phoneTest('a phone that comes back from another address is rung there', async () => {
  const first = await phone('dad')
  first.kill()
  open.delete(first)
  const [mum, again] = [await phone('mum'), await phone('dad', { address: '127.0.0.2' })]
  await mum.command('dial', uri('dad'))
  await again.event('CALL_INCOMING')
  await again.command('accept')
  await hears(again, tones['mum']!, 1)
})

phoneTest('registrations survive a restart of the server, and even its being killed', async () => {
  const [mum, dad] = [await phone('mum'), await phone('dad')]
  for (const end of [() => server.stop(), () => server.kill()]) {
    await end()
    await server.restart()
    const { bindings } = await server.api<{ bindings: { aor: string }[] }>('/api/registrations')
    const aors = new Set(bindings.map(b => b.aor))
    assert.ok(aors.has(uri('mum')) && aors.has(uri('dad')), JSON.stringify(bindings))
    await call(mum, dad)
    await hears(dad, tones['mum']!, 1)
    await mum.command('hangup')
    await dad.event('CALL_CLOSED')
  }
})
