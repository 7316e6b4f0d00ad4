import assert from 'node:assert/strict'
import { after, afterEach, before, test } from 'node:test'
import { type Baresip, startBaresip } from '../support/baresip.ts'
import { type ForeignPage, openBrowser, type TestBrowser } from '../support/browser.ts'
import { type Member, openMember } from '../support/member.ts'
import { freePorts, startVaartha, type TestServer } from '../support/server.ts'
import { secondsOf } from '../support/tone.ts'

// A group of browsers with libraries that know nothing of this server, a baresip and a light phone of the tests' own.

const tones = { jay: 1050, sue: 1250, bob: 700, mum: 1700 }
let server: TestServer
let browser: TestBrowser
let jay: ForeignPage
let sue: ForeignPage
let bob: Baresip
let mum: Member
const uri = (user: string) => `sip:${user}@${server.domain}`

before(async () => {
  const [port] = (await freePorts(1)) as [number]
  // All four are heard at once, whoever is loudest.
  server = await startVaartha({ settings: { VAARTHA_MEDIA_PORT: String(port), VAARTHA_MEDIA_SPEAKERS: '4' } })
  browser = await openBrowser()
  jay = await page('jssip', 'jay')
  sue = await page('sipjs', 'sue')
  const password = await server.addUser('bob')
  const where = { server: `127.0.0.1:${server.ports.sip}`, domain: server.domain }
  bob = await startBaresip({ user: 'bob', password, ...where, tone: tones.bob, answer: 'auto' })
  mum = await openMember({ server, user: 'mum', password: await server.addUser('mum'), tone: tones.mum })
  const members = ['--members', Object.keys(tones).join(), '--moderators', 'mum', '--no-announce']
  const { code, stderr } = await server.cli('group', 'add', 'family', ...members)
  assert.equal(code, 0, stderr)
})

after(async () => {
  mum?.close()
  await bob?.close()
  await browser?.close()
  await server?.close()
})

afterEach(async () => {
  for (const { id } of await meetings()) await server.api(`/api/meetings/${id}/end`, 'POST').catch(() => undefined)
  for (const one of [jay, sue]) {
    if (!['none', 'ended', 'failed'].includes((await one.state()).call)) await one.until({ call: 'ended' })
  }
})

interface MeetingSeen {
  id: string
  shape: string
  members: { id: number; user: string }[]
}
/** Calls the group from the JsSIP page; all four are in after that, and no ringing is heard any more. */
async function callFamily(): Promise<void> {
  await jay.client('call', uri('family'))
  await jay.until({ call: 'confirmed' })
  await mum.until(() => !mum.ended, 'being called')
  const until = Date.now() + 10_000
  while ((await meetings())[0]?.members.length !== 4) {
    assert.ok(Date.now() < until, JSON.stringify(await meetings()))
    await new Promise(done => setTimeout(done, 100))
  }
}

const meetings = () => server.api<MeetingSeen[]>('/api/meetings')

async function page(library: 'jssip' | 'sipjs', user: 'jay' | 'sue'): Promise<ForeignPage> {
  const password = await server.addUser(user)
  const one = await browser.foreign(library, tones[user])
  await one.register({ uri: uri(user), password, server: `ws://127.0.0.1:${server.ports.http}/sip` })
  return one
}

/** Resolves when the baresip has heard all these tones, each for a while. */
async function bobHears(...wanted: number[]): Promise<void> {
  const until = Date.now() + 15_000
  const missing = () => {
    const heard = bob.heard().at(-1)
    return wanted.filter(hz => heard === undefined || secondsOf(heard, hz, 0.2) < 0.5)
  }
  for (let left = missing(); left.length > 0; left = missing()) {
    if (Date.now() > until) assert.fail(`bob misses ${left}`)
    await new Promise(done => setTimeout(done, 200))
  }
}

/**
 * Resolves when a page hears these tones, and its own not: a mix of several tones makes faint others by itself, but what
 * came back would be as loud as they are.
 */
async function hearsOthers(page: ForeignPage, wanted: readonly number[]): Promise<void> {
  await page.hears(wanted)
  await page.watch([...wanted, page.tone])
  const others = wanted.length
  const seen: number[][] = []
  const until = Date.now() + 10_000
  while (seen.length < 12) {
    assert.ok(Date.now() < until, `page with ${page.tone} Hz hears too little`)
    await new Promise(done => setTimeout(done, 60))
    const levels = (await page.heard()).map(one => one.level)
    // A busy machine leaves out pieces of sound; those say nothing.
    if (Math.max(...levels.slice(0, others)) > 0.1) seen.push(levels)
  }
  const own = seen.map(levels => levels[others]!).sort((one, other) => one - other)[6]!
  assert.ok(own < 0.1, `page with ${page.tone} Hz hears itself at ${own}`)
}

test('browsers that were not written for it and phones are rung, and each hears the three others', async () => {
  await callFamily()
  await Promise.all([
    hearsOthers(jay, [tones.sue, tones.bob, tones.mum]),
    hearsOthers(sue, [tones.jay, tones.bob, tones.mum]),
    mum.hears([tones.jay, tones.sue, tones.bob], { not: [tones.mum] }),
    bobHears(tones.jay, tones.sue, tones.mum),
  ])
  const [meeting] = await meetings()
  assert.equal(meeting!.shape, 'sfu')
  assert.equal(meeting!.members.length, 4)
})

test('a browser mutes itself by *6, as telephone events', async () => {
  await callFamily()
  await mum.hears([tones.jay, tones.sue, tones.bob])
  await jay.client('dtmf', '*6')
  await mum.hears([tones.sue, tones.bob], { not: [tones.jay] })
  await jay.client('dtmf', '*6')
  await mum.hears([tones.jay, tones.sue, tones.bob])
})

test('a browser holds and comes back', async () => {
  await callFamily()
  await mum.hears([tones.jay, tones.sue, tones.bob])
  await jay.client('hold')
  await mum.hears([tones.sue, tones.bob], { not: [tones.jay] })
  await jay.client('resume')
  await mum.hears([tones.jay, tones.sue, tones.bob])
  await hearsOthers(jay, [tones.sue, tones.bob, tones.mum])
})

test('a call of a browser becomes a meeting when a third person is added', async () => {
  assert.equal((await mum.call('jay')).status, 200)
  await jay.until({ call: 'confirmed' })
  await jay.hears([tones.mum])
  const call = mum.replaces
  assert.equal((await mum.call('meet')).status, 200)
  assert.equal(await mum.refer(`<${uri('jay')}?Replaces=${encodeURIComponent(call)}>`), 202)
  await mum.hears([tones.jay])
  assert.equal(await mum.refer(`<${uri('sue')}>`), 202)
  await Promise.all([
    mum.hears([tones.jay, tones.sue], { not: [tones.mum] }),
    hearsOthers(jay, [tones.mum, tones.sue]),
    hearsOthers(sue, [tones.mum, tones.jay]),
  ])
  await mum.hangUp()
})
