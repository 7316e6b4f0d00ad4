import assert from 'node:assert/strict'
import { after, afterEach, before, test } from 'node:test'
import type { CallView } from '../../src/calls/calls.ts'
import { type Baresip, startBaresip } from '../support/baresip.ts'
import { type ForeignPage, openBrowser, type TestBrowser } from '../support/browser.ts'
import { createPhone } from '../support/phone.ts'
import { createRtpPhone } from '../support/rtp-phone.ts'
import { freePorts, startVaartha, type TestServer } from '../support/server.ts'
import { createUdpPeer, sipResponse } from '../support/sip-peer.ts'
import { secondsOf } from '../support/tone.ts'

// Browsers with libraries that know nothing of this server, and plain phones: their media passes the server. Everybody has
// a tone of its own, and is found by it in what the others hear.

let server: TestServer
let browser: TestBrowser
let jay: ForeignPage
let sue: ForeignPage
const phones: Baresip[] = []
const passwords = new Map<string, string>()
const uri = (user: string) => `sip:${user}@${server.domain}`

before(async () => {
  const [port] = (await freePorts(1)) as [number]
  server = await startVaartha({ settings: { VAARTHA_MEDIA_PORT: String(port) } })
  browser = await openBrowser()
  for (const user of ['bob', 'kid']) passwords.set(user, await server.addUser(user))
  jay = await page('jssip', 'jay', 400)
  sue = await page('sipjs', 'sue', 600)
})

afterEach(async () => {
  for (const phone of phones.splice(0)) await phone.close()
})

after(async () => {
  await browser?.close()
  await server?.close()
})

async function page(library: 'jssip' | 'sipjs', user: string, tone: number): Promise<ForeignPage> {
  const password = await server.addUser(user)
  const one = await browser.foreign(library, tone)
  await one.page.evaluate(onlyLoopback)
  await one.register({ uri: uri(user), password, server: `ws://127.0.0.1:${server.ports.http}/sip` })
  return one
}

async function phone(user: 'bob' | 'kid', answer: 'auto' | 'manual' = 'auto', account = ''): Promise<Baresip> {
  const where = { server: `127.0.0.1:${server.ports.sip}`, domain: server.domain }
  const tone = user === 'bob' ? 700 : 900
  const one = await startBaresip({ user, password: passwords.get(user)!, ...where, tone, answer, account })
  phones.push(one)
  return one
}

// A page sees all networks of this machine, and takes another one for better than the loopback that the server has. With
// `lost` set it finds no way to other pages.
const onlyLoopback = `{
  const { prototype } = RTCPeerConnection
  const take = prototype.setRemoteDescription
  const near = line => {
    const ours = line.includes(' 127.0.0.1 ') && !(window.lost && line.includes(' generation '))
    return !line.startsWith('a=candidate') || ours
  }
  prototype.setRemoteDescription = function ({ type, sdp }) {
    return take.call(this, { type, sdp: sdp.split('\\r\\n').filter(near).join('\\r\\n') })
  }
}`

/** Resolves when a phone has heard a tone for so long in one of its calls. */
async function hears(one: Baresip, hz: number, seconds = 0.6): Promise<void> {
  const until = Date.now() + 15_000
  const longest = () => Math.max(0, ...one.heard().map(sound => secondsOf(sound, hz)))
  while (longest() < seconds) {
    if (Date.now() > until) assert.fail(`${one.user} heard ${hz} Hz for ${longest()} s\n${one.log().slice(-2000)}`)
    await new Promise(done => setTimeout(done, 100))
  }
}

async function logged(text: string): Promise<void> {
  const until = Date.now() + 10_000
  while (!server.log().includes(text)) {
    if (Date.now() > until) assert.fail(`the server did not say: ${text}`)
    await new Promise(done => setTimeout(done, 50))
  }
}

test('a JsSIP page calls a phone: both hear each other, hold, resume, keys, and the page hangs up', async () => {
  const bob = await phone('bob')
  await jay.client('call', uri('bob'))
  await jay.until({ call: 'confirmed' })
  await Promise.all([jay.hears([700]), hears(bob, 400)])
  await jay.client('dtmf', '5')
  assert.equal((await bob.event('CALL_DTMF_START')).param, '5')
  await jay.client('hold')
  await jay.until({ held: 'local' })
  await bob.printed(/a=sendonly/)
  await jay.client('resume')
  await jay.until({ held: false })
  await jay.hears([700])
  await jay.client('hangUp')
  await bob.event('CALL_CLOSED')
})

test('a phone calls a SIP.js page: both hear each other, keys, the phone holds and resumes, and hangs up', async () => {
  const bob = await phone('bob')
  await bob.command('dial', uri('sue'))
  await bob.event('CALL_ESTABLISHED')
  await sue.until({ call: 'confirmed' })
  await Promise.all([sue.hears([700]), hears(bob, 600)])
  await bob.command('sndcode', '7')
  await sue.page.waitForFunction(`window.client.state.notes.includes('info 7')`, undefined, { timeout: 10_000 })
  await bob.command('hold')
  await sue.until({ held: 'remote' })
  await bob.command('resume')
  await sue.until({ held: false })
  await sue.hears([700])
  await bob.command('hangup')
  await sue.until({ call: 'ended' })
})

test('a page that is called holds, resumes, and hangs up', async () => {
  const bob = await phone('bob')
  await bob.command('dial', uri('sue'))
  await sue.until({ call: 'confirmed' })
  await sue.hears([700])
  await sue.client('hold')
  await sue.until({ held: 'local' })
  await bob.printed(/a=sendonly/)
  await sue.client('resume')
  await sue.until({ held: false })
  await sue.hears([700])
  await sue.client('hangUp')
  await bob.event('CALL_CLOSED')
})

test('blind transfer by a page: phone and phone go on directly', async () => {
  const [bob, kid] = [await phone('bob'), await phone('kid')]
  await jay.client('call', uri('bob'))
  await jay.until({ call: 'confirmed' })
  await hears(bob, 400)
  await jay.client('refer', uri('kid'))
  await kid.event('CALL_ESTABLISHED')
  await Promise.all([hears(bob, 900), hears(kid, 700)])
  await jay.until({ call: 'ended' })
  await kid.command('hangup')
  await bob.event('CALL_CLOSED')
})

test('blind transfer by a phone: a page goes on with another phone, and with another page', async () => {
  const [bob, kid] = [await phone('bob'), await phone('kid')]
  await bob.command('dial', uri('jay'))
  await jay.until({ call: 'confirmed' })
  await jay.hears([700])
  await bob.command('transfer', uri('kid'))
  await kid.event('CALL_ESTABLISHED')
  await Promise.all([jay.hears([900]), hears(kid, 400)])
  await bob.event('CALL_CLOSED')
  await kid.command('transfer', uri('sue'))
  await Promise.all([jay.hears([600]), sue.hears([400])])
  await sue.client('hangUp')
  await jay.until({ call: 'ended' })
})

test('attended transfer by a phone: it asks another phone first, then connects that with the page', async () => {
  const [bob, kid] = [await phone('bob'), await phone('kid')]
  await jay.client('call', uri('bob'))
  await jay.until({ call: 'confirmed' })
  await jay.hears([700])
  const first = dialogOfIncoming(bob)
  await bob.command('hold')
  await bob.command('dial', uri('kid'))
  await kid.event('CALL_ESTABLISHED')
  const replaces = encodeURIComponent(`${first.callId};to-tag=${first.remoteTag};from-tag=${first.localTag}`)
  await bob.command('transfer', `${uri('jay')}?Replaces=${replaces}`)
  await Promise.all([jay.hears([900]), hears(kid, 400)])
  await jay.client('hangUp')
  await kid.event('CALL_CLOSED')
})

/** The dialog of the last INVITE that a phone answered, from its SIP trace. */
function dialogOfIncoming(baresip: Baresip): { callId: string; localTag: string; remoteTag: string } {
  const answers = baresip.log().match(/SIP\/2\.0 200 [^\n]*\r?\n(?:[^\n]+\r?\n)*?CSeq: \d+ INVITE/g)
  const value = (pattern: RegExp) => pattern.exec(answers?.at(-1) ?? '')?.[1] ?? ''
  return {
    callId: value(/Call-ID: (\S+)/i),
    localTag: value(/To: .*tag=([^\s;]+)/i),
    remoteTag: value(/From: .*tag=([^\s;]+)/i),
  }
}

test('a page rings a phone and gives up; a phone declines', async () => {
  const bob = await phone('bob', 'manual')
  await jay.client('call', uri('bob'))
  await jay.until({ ringing: true })
  await jay.client('hangUp')
  await bob.event('CALL_CLOSED')
  await jay.until({ call: 'failed' })
  await jay.client('call', uri('bob'))
  await jay.until({ ringing: true })
  await bob.command('hangup')
  await jay.until({ call: 'failed', status: 486 })
})

test('a page hears what a phone plays before it answers', async () => {
  const password = await server.addUser('box')
  const peer = await createUdpPeer(server.ports.sip)
  const box = createPhone({ peer, user: 'box', domain: server.domain, password })
  const sound = await createRtpPhone({ tone: 800 })
  await box.register()
  await jay.client('call', uri('box'))
  const invite = await peer.request('INVITE')
  const [, port] = /m=audio (\d+)/.exec(invite.body) ?? []
  sound.aim({ rtpPort: Number(port), rtcpPort: Number(port) + 1 })
  const body = `v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio ${sound.port} RTP/AVP 0\r\n`
  const answer = { tag: 'box', contact: peer.port, body }
  peer.send(sipResponse(invite, 183, answer))
  const talks = sound.talk(300, { everyMs: 20 })
  await jay.hears([800])
  assert.equal((await jay.state()).call, 'progress')
  peer.send(sipResponse(invite, 200, answer))
  await jay.until({ call: 'confirmed' })
  await jay.hears([800])
  await jay.client('hangUp')
  peer.send(sipResponse(await peer.request('BYE'), 200))
  await talks
  sound.close()
  peer.close()
})

test('echo and delay test: a page and a phone hear themselves', async () => {
  await jay.client('call', uri('echo'))
  await jay.until({ call: 'confirmed' })
  await jay.hears([400])
  assert.equal((await server.api<CallView[]>('/api/calls'))[0]?.to, uri('echo'))
  await jay.client('hangUp')
  await jay.until({ call: 'ended' })
  const bob = await phone('bob')
  await bob.command('dial', uri('*44'))
  await hears(bob, 700)
  await bob.command('hangup')
})

test('a worker that is killed in a call is replaced, and both are heard again', async () => {
  const bob = await phone('bob')
  await jay.client('call', uri('bob'))
  await jay.until({ call: 'confirmed' })
  await jay.hears([700])
  const pid = Number(/"pid":(\d+),"worker"[^\n]*SFU worker started[^\n]*\n?$/m.exec(server.log())?.[1])
  process.kill(pid, 'SIGKILL')
  await jay.hears([700], { ms: 1500 })
  await hears(bob, 400, 2)
  await jay.client('hangUp')
  await bob.event('CALL_CLOSED')
})

test('blind transfer of a page that talked directly with a page: it goes on with a phone', async () => {
  const bob = await phone('bob')
  await jay.client('call', uri('sue'))
  await Promise.all([jay.until({ call: 'confirmed' }), sue.until({ call: 'confirmed' })])
  await Promise.all([jay.hears([600]), sue.hears([400])])
  await jay.client('refer', uri('bob'))
  await bob.event('CALL_ESTABLISHED')
  await Promise.all([sue.hears([700]), hears(bob, 600)])
  await sue.client('hangUp')
  await bob.event('CALL_CLOSED')
})

test('two pages whose direct way fails go on through the server', async () => {
  for (const { page } of [jay, sue]) await page.evaluate('window.lost = true')
  await jay.client('call', uri('sue'))
  await Promise.all([jay.until({ call: 'confirmed' }), sue.until({ call: 'confirmed' })])
  await jay.client('restartIce', ['Media-Path: relay'])
  await logged('media moves from the direct way to this server')
  await Promise.all([jay.hears([600]), sue.hears([400])])
  await jay.client('hangUp')
  await sue.until({ call: 'ended' })
  assert.deepEqual(await server.api<CallView[]>('/api/calls'), [])
})
