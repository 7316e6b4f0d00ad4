import assert from 'node:assert/strict'
import { after, afterEach, before, describe, it } from 'node:test'
import { type Baresip, startBaresip } from '../support/baresip.ts'
import { openBrowser, type TestBrowser } from '../support/browser.ts'
import { freePorts, startVaartha, type TestServer } from '../support/server.ts'
import { secondsOf } from '../support/tone.ts'
import { isOnline, openWebPhone, type WebPhone, webUrl } from '../support/web-phone.ts'

// Our own web phone in meetings and with a plain phone. Everybody has a tone of its own.

// Longer than this without somebody's voice is heard as a gap.
const gapMs = 60

const tones: Record<string, number> = { mum: 600, dad: 800, kid: 1000, bob: 700 }

describe('web phone in meetings', () => {
  let server: TestServer
  let browser: TestBrowser
  const passwords = new Map<string, string>()
  const open: { close(): Promise<void> }[] = []

  before(async () => {
    const [port] = (await freePorts(1)) as [number]
    server = await startVaartha({ settings: { VAARTHA_MEDIA_PORT: String(port) } })
    browser = await openBrowser()
    for (const user of Object.keys(tones)) passwords.set(user, await server.addUser(user, user.toUpperCase()))
    const members = ['--members', 'mum,dad,kid', '--moderators', 'mum', '--ring', 'nobody']
    await server.cli('group', 'add', 'family', '--display-name', 'Family', ...members)
    while ((await fetch(webUrl(server))).status !== 200) await new Promise(done => setTimeout(done, 200))
  })
  afterEach(async () => {
    // Who leaves is gone at once; a page that just vanishes is waited for.
    for (const one of open) {
      const leave = 'page' in one ? (one as WebPhone).button('Leave') : undefined
      if (leave !== undefined && (await leave.count()) > 0) await leave.click()
    }
    await Promise.all(open.splice(0).map(one => one.close()))
    while ((await server.api<unknown[]>('/api/meetings')).length > 0) await new Promise(done => setTimeout(done, 100))
  })
  after(async () => {
    await browser?.close()
    await server?.close()
  })

  async function phone(name: string): Promise<WebPhone> {
    const one = await openWebPhone(browser, server, {
      name,
      password: passwords.get(name) ?? '',
      tone: tones[name] ?? 0,
    })
    open.push(one)
    return one
  }
  async function join(name: string, count: number): Promise<WebPhone> {
    const one = await phone(name)
    await one.call('family')
    await one.shows(`${count} in the meeting`)
    return one
  }
  async function plain(name: string): Promise<Baresip> {
    const where = { server: `127.0.0.1:${server.ports.sip}`, domain: server.domain }
    const one = await startBaresip({
      user: name,
      password: passwords.get(name) ?? '',
      ...where,
      tone: tones[name] ?? 0,
      answer: 'auto',
    })
    open.push(one)
    return one
  }
  const shape = (one: WebPhone, text: string) =>
    one.page.locator('.shape', { hasText: text }).waitFor({ timeout: 15_000 })
  const heardBy = async (one: Baresip, hz: number) => {
    const until = Date.now() + 15_000
    const longest = () => Math.max(0, ...one.heard().map(sound => secondsOf(sound, hz)))
    while (longest() < 0.6) {
      assert.ok(Date.now() < until, `${one.user} does not hear ${hz} Hz`)
      await new Promise(done => setTimeout(done, 100))
    }
  }
  const gap = async (one: WebPhone) => Math.max(...(await one.heard()).map(tone => tone.longest))

  it('goes from the server to direct to mesh, and nobody misses a word', async () => {
    const [mum, dad] = [await join('mum', 1), await join('dad', 2)]
    await Promise.all([mum.hears([800]), dad.hears([600])])
    await Promise.all([shape(mum, 'direct'), shape(dad, 'direct')])
    // A tile stays the same element through every change.
    const tile = mum.page.locator('[data-member="2"]')
    await tile.evaluate(element => element.setAttribute('data-seen', 'yes'))
    await Promise.all([mum.watch([800]), dad.watch([600])])
    const kid = await join('kid', 3)
    await Promise.all([mum, dad, kid].map(one => shape(one, 'mesh')))
    await mum.page.waitForTimeout(2500)
    assert.ok((await gap(mum)) <= gapMs, `mum missed ${await gap(mum)} ms`)
    assert.ok((await gap(dad)) <= gapMs, `dad missed ${await gap(dad)} ms`)
    await Promise.all([mum.hears([800, 1000]), dad.hears([600, 1000]), kid.hears([600, 800])])
    assert.equal(await tile.getAttribute('data-seen'), 'yes')

    await dad.button('Camera on').click()
    for (const one of [mum, kid]) await seesMoving(one, 2)
    await dad.button('Camera off').click()
    await mum.page.locator('[data-member="2"] video').waitFor({ state: 'detached' })
    await kid.button('Leave').click()
    await Promise.all([shape(mum, 'direct'), mum.shows('2 in the meeting')])
    await Promise.all([mum.hears([800]), dad.hears([600])])
  })

  it('goes through the server with a plain phone, and moderators moderate', async () => {
    const [mum, dad] = [await join('mum', 1), await join('dad', 2)]
    await shape(mum, 'direct')
    await Promise.all([mum.watch([800]), dad.watch([600])])
    const bob = await plain('bob')
    await bob.command('dial', `sip:family@${server.domain}`)
    await Promise.all([mum, dad].map(one => shape(one, 'through vaartha')))
    await mum.page.waitForTimeout(2000)
    assert.ok((await gap(mum)) <= gapMs, `mum missed ${await gap(mum)} ms`)
    await Promise.all([mum.hears([800, 700]), dad.hears([600, 700]), heardBy(bob, 600), heardBy(bob, 800)])

    await dad.button('Camera on').click()
    await seesMoving(mum, 2)
    await mum.button('Mute DAD').click()
    await mum.hears([], { not: [800], ms: 1000 })
    await dad.shows('muted')
    await mum.button('Unmute DAD').click()
    await mum.hears([800])
    assert.equal(await dad.button('Remove MUM').count(), 0)
    await mum.button('Remove DAD').click()
    await dad.idle()
    await mum.button('End for all').click()
    await mum.idle()
  })

  it('keeps its place over a reload', async () => {
    const [mum, dad] = [await join('mum', 1), await join('dad', 2)]
    await Promise.all([shape(mum, 'direct'), shape(dad, 'direct')])
    await mum.page.reload()
    await isOnline(mum.page)
    await mum.shows('2 in the meeting')
    await mum.page.locator('[data-member="1"]', { hasText: 'You' }).waitFor()
    await Promise.all([mum.hears([800]), dad.hears([600])])
  })

  it('makes a meeting of a call by adding a person', async () => {
    const [mum, dad, kid] = [await phone('mum'), await phone('dad'), await phone('kid')]
    await mum.call('dad')
    await dad.answer()
    await dad.hears([600])
    await mum.button('Add a person').click()
    await mum.page.getByLabel('Whom to add').fill('kid')
    await mum.button('Add').click()
    await kid.answer()
    await Promise.all([mum.hears([800, 1000]), dad.hears([600, 1000]), kid.hears([600, 800])])
    await Promise.all([mum, dad, kid].map(one => one.shows('3 in the meeting')))
  })

  it('talks with a plain phone, and hears itself in the echo test', async () => {
    const mum = await phone('mum')
    const bob = await plain('bob')
    await mum.call('bob')
    await Promise.all([mum.hears([700]), heardBy(bob, 600)])
    await mum.shows('through vaartha')
    await mum.button('Hang up').click()
    await mum.idle()
    await mum.call('*43')
    await mum.hears([600])
    await mum.button('Hang up').click()
    await mum.idle()
    await bob.command('dial', `sip:mum@${server.domain}`)
    await mum.answer()
    await mum.hears([700])
    await mum.button('Hang up').click()
    await mum.idle()
  })
})

/** Resolves when a tile shows a picture that changes. */
async function seesMoving(one: WebPhone, member: number): Promise<void> {
  const video = one.page.locator(`[data-member="${member}"] video`)
  await video.waitFor({ timeout: 15_000 })
  const frames = () =>
    video.evaluate('element => element.getVideoPlaybackQuality().totalVideoFrames') as Promise<number>
  const first = await frames()
  const until = Date.now() + 10_000
  while ((await frames()) < first + 5) {
    assert.ok(Date.now() < until, `${one.name} sees no movement of ${member}`)
    await one.page.waitForTimeout(100)
  }
}
