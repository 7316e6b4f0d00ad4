import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { after, afterEach, before, describe, it } from 'node:test'
import { type ForeignPage, openBrowser, type TestBrowser, type TestPage } from '../support/browser.ts'
import { startVaartha, type TestServer } from '../support/server.ts'
import { secondsOf, soundOf } from '../support/tone.ts'
import { openWebPhone, type WebPhone, webUrl } from '../support/web-phone.ts'

// Two browsers that talk directly come to the server when their call is recorded: one by a new dialog in place of the old
// one, and the other follows. What the files hold is told by tones.

interface Recorded {
  id: string
  meeting: string
  files: { file: string; speaker: string }[]
}

const hasFfmpeg = spawnSync('ffmpeg', ['-version']).status === 0
const without = hasFfmpeg ? '' : 'ATTENTION: no ffmpeg here, so recordings are NOT opened by a foreign program'
const tones = { mum: 600, dad: 800, jay: 500, sue: 700 } as const
type Name = keyof typeof tones

describe('recording of two browsers', { concurrency: false }, () => {
  let server: TestServer
  let browser: TestBrowser
  let mum: WebPhone
  let dad: WebPhone
  const pages: TestPage[] = []
  const passwords = new Map<Name, string>()

  before(async () => {
    server = await startVaartha()
    browser = await openBrowser()
    for (const user of Object.keys(tones) as Name[]) {
      // Only mum is an administrator.
      const admin = user === 'mum' ? ['--admin'] : []
      const { code, stdout, stderr } = await server.cli('user', 'add', user, '--json', ...admin)
      assert.equal(code, 0, stderr)
      passwords.set(user, (JSON.parse(stdout) as { password: string }).password)
    }
    while ((await fetch(webUrl(server))).status !== 200) await new Promise(done => setTimeout(done, 200))
    const open = (name: Name) =>
      openWebPhone(browser, server, { name, tone: tones[name], password: passwords.get(name)! })
    ;[mum, dad] = await Promise.all([open('mum'), open('dad')])
  })
  afterEach(async () => {
    // So that one that fails does not spoil the next.
    const calls = await server.api<{ id: string }[]>('/api/calls')
    for (const { id } of calls) await server.api(`/api/calls/${id}`, 'DELETE')
    for (const page of pages.splice(0)) await page.close()
  })
  after(async () => {
    await browser?.close()
    await server?.close()
  })

  /** A page that was never written for this server; JsSIP says of each that it knows Replaces. */
  async function foreign(
    user: Name,
    knowsReplaces: boolean,
    library: 'jssip' | 'sipjs' = 'jssip',
  ): Promise<ForeignPage> {
    const page = await browser.foreign(library, tones[user])
    pages.push(page)
    await page.client('givingWay', knowsReplaces)
    const url = `ws://127.0.0.1:${server.ports.http}/sip`
    await page.register({ uri: `sip:${user}@${server.domain}`, password: passwords.get(user)!, server: url })
    return page
  }

  const both = (one: TestPage, two: TestPage, ms = 600) =>
    Promise.all([one.hears([two.tone], { ms }), two.hears([one.tone], { ms })])
  const call = async () => (await server.api<{ id: string; recording: boolean }[]>('/api/calls'))[0]!
  const recorded = async (on: boolean) => {
    while ((await call()).recording !== on) await new Promise(done => setTimeout(done, 100))
  }
  const byApi = {
    begin: async () => void (await server.api(`/api/calls/${(await call()).id}/recording`, 'POST')),
    end: async () => void (await server.api(`/api/calls/${(await call()).id}/recording`, 'DELETE')),
  }

  /** Records the call that goes on, with everybody heard before, meanwhile and after. */
  async function record(one: TestPage, two: TestPage, how: { begin(): Promise<void>; end(): Promise<void> }) {
    await both(one, two)
    const { id } = await call()
    // The tone of consent comes first, to both.
    const consent = Promise.all([one.hears([1400], { ms: 60 }), two.hears([1400], { ms: 60 })])
    await how.begin()
    await consent
    await recorded(true)
    await both(one, two, 5000)
    await how.end()
    await recorded(false)
    await both(one, two)
    for (let tries = 0; ; tries++) {
      const list = await server.api<Recorded[]>('/api/recordings')
      const kept = list.find(({ meeting }) => meeting === id)
      if (kept) return kept
      assert.ok(tries < 50, `no recording was kept\n${server.log().slice(-3000)}`)
      await new Promise(done => setTimeout(done, 100))
    }
  }

  function holds(kept: Recorded, names: readonly Name[]): void {
    assert.deepEqual(kept.files.map(({ speaker }) => speaker).toSorted(), ['', ...names].toSorted())
    if (!hasFfmpeg) return
    for (const { file, speaker } of kept.files) {
      const path = join(server.data, 'recordings', file)
      const ffmpeg = ['-v', 'error', '-i', path, '-f', 's16le', '-ac', '1', '-ar', '16000', 'pipe:1']
      const run = spawnSync('ffmpeg', ffmpeg, { maxBuffer: 1 << 26 })
      assert.equal(run.stderr.toString(), '')
      const sound = soundOf(16_000, new Int16Array(run.stdout.buffer, run.stdout.byteOffset, run.stdout.length >> 1))
      for (const name of names) {
        const found = secondsOf(sound, tones[name], 0.2)
        const what = `${found} s of ${name} in the file of "${speaker}"`
        if (speaker === '' || speaker === name) assert.ok(found > 2, what)
        else assert.equal(found, 0, what)
      }
    }
  }

  it('brings two web phones by the button of the one that may', async t => {
    if (without) t.diagnostic(without)
    await mum.call('dad')
    await dad.answer()
    const button = {
      begin: () => mum.button('Record').click(),
      end: () => mum.button('Stop recording').click(),
    }
    await both(mum, dad)
    assert.equal(await dad.button('Record').count(), 0)
    const told = Promise.all([mum.shows('is being recorded'), dad.shows('is being recorded')])
    holds(await record(mum, dad, button), ['mum', 'dad'])
    await told
    await Promise.all([mum.shows('through vaartha'), dad.shows('through vaartha')])
    await dad.page.getByText('is being recorded').waitFor({ state: 'detached' })
    assert.equal((await server.api<unknown[]>('/api/calls')).length, 1)
    await dad.button('Hang up').click()
    await Promise.all([mum.idle(), dad.idle()])
  })

  it('brings a muted web phone that was called, and it stays muted', async () => {
    await dad.call('mum')
    await mum.answer()
    await both(mum, dad)
    await dad.button('Mute').click()
    await byApi.begin()
    await recorded(true)
    await dad.hears([tones.mum], { ms: 2000 })
    await mum.hears([], { not: [tones.dad], ms: 1000 })
    await dad.button('Unmute').click()
    await both(mum, dad)
    await mum.button('Hang up').click()
    await Promise.all([mum.idle(), dad.idle()])
  })

  it('brings a web phone, and a page follows that knows nothing of it', async () => {
    const jay = await foreign('jay', false)
    await jay.client('call', `sip:mum@${server.domain}`)
    await mum.answer()
    holds(await record(mum, jay, byApi), ['mum', 'jay'])
    await mum.button('Hang up').click()
    await jay.until({ call: 'ended' })
    await mum.idle()
  })

  it('brings a page that knows Replaces, and another one follows', async () => {
    const jay = await foreign('jay', true)
    const sue = await foreign('sue', false)
    await sue.client('call', `sip:jay@${server.domain}`)
    await Promise.all([jay.until({ call: 'confirmed' }), sue.until({ call: 'confirmed' })])
    holds(await record(jay, sue, byApi), ['jay', 'sue'])
    await sue.client('hangUp')
    await jay.until({ call: 'ended' })
  })

  it('brings a page of SIP.js that knows Replaces, and another one of SIP.js follows', async () => {
    const jay = await foreign('jay', true, 'sipjs')
    const sue = await foreign('sue', false, 'sipjs')
    await sue.client('call', `sip:jay@${server.domain}`)
    await Promise.all([jay.until({ call: 'confirmed' }), sue.until({ call: 'confirmed' })])
    holds(await record(jay, sue, byApi), ['jay', 'sue'])
    await sue.client('hangUp')
    await jay.until({ call: 'ended' })
  })

  it('refuses two pages that do not know Replaces, and they talk on', async () => {
    const jay = await foreign('jay', false)
    const sue = await foreign('sue', false)
    await jay.client('call', `sip:sue@${server.domain}`)
    await both(jay, sue)
    const [one, two] = [jay.watch([tones.sue]), sue.watch([tones.jay])]
    await Promise.all([one, two])
    await assert.rejects(byApi.begin(), /503|browserMedia/)
    for (const page of [jay, sue])
      for (const { longest } of await page.heard()) assert.ok(longest < 500, `${longest} ms`)
    assert.equal((await call()).recording, false)
    await both(jay, sue)
    await sue.client('hangUp')
    await jay.until({ call: 'ended' })
  })
})
