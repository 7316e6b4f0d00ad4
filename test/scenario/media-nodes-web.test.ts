import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { startBaresip } from '../support/baresip.ts'
import { openBrowser, type TestBrowser } from '../support/browser.ts'
import { type MediaServers, startMediaServers } from '../support/media-servers.ts'
import { type Member, openMember } from '../support/member.ts'
import { until } from '../support/pair.ts'
import { secondsOf } from '../support/tone.ts'
import { openWebPhone, type WebPhone, webUrl } from '../support/web-phone.ts'

// Two browsers and a phone in a meeting whose media is on a node of its own, and goes to another one. The SIP node carries
// none, so what they hear has come over the ports and addresses of the media nodes.

const tones = { mum: 600, dad: 800, kid: 1000 } as const
let servers: MediaServers
let browser: TestBrowser
let mum: WebPhone
let dad: WebPhone
let kid: Member
const passwords: Record<string, string> = {}

before(async () => {
  servers = await startMediaServers()
  const { sip } = servers
  browser = await openBrowser()
  for (const user of Object.keys(tones)) passwords[user] = await sip.addUser(user)
  const members = ['--members', 'mum,dad,kid', '--moderators', 'mum', '--ring', 'nobody', '--no-announce']
  const { code, stderr } = await sip.cli('group', 'add', 'family', ...members)
  assert.equal(code, 0, stderr)
  await until(async () => (await fetch(webUrl(sip))).status === 200, 30_000)
  await until(async () => (await sip.api<{ media: { sfu: string } }>('/health')).media.sfu === 'ready', 20_000)
  mum = await join('mum', 1)
  kid = await openMember({ server: sip, user: 'kid', password: passwords['kid']!, tone: tones.kid })
  assert.equal((await kid.call('family')).status, 200)
  dad = await join('dad', 3)
})
after(async () => {
  kid?.close()
  await browser?.close()
  await servers?.close()
})

async function join(name: 'mum' | 'dad', count: number): Promise<WebPhone> {
  const one = await openWebPhone(browser, servers.sip, { name, password: passwords[name]!, tone: tones[name] })
  await one.call('family')
  await one.shows(`${count} in the meeting`)
  return one
}

const hearEachOther = () =>
  Promise.all([mum.hears([tones.dad, tones.kid]), dad.hears([tones.mum, tones.kid]), kid.hears([tones.mum, tones.dad])])

test('browsers and a phone hear each other over a media node, and over the other one when that is killed', async t => {
  await hearEachOther()
  const name = await servers.carrier()
  const other = name === 'm' ? 'n' : 'm'
  const killed = performance.now()
  await servers.media[name].kill()
  await until(async () => (await servers.carrier()) === other, 8000)
  await hearEachOther()
  t.diagnostic(`all hear each other ${Math.round(performance.now() - killed)} ms after SIGKILL`)
  await mum.shows('3 in the meeting')
  await servers.media[name].restart()
})

test('the node is drained: browsers and the phone follow to the other one', async () => {
  const name = await servers.carrier()
  const other = name === 'm' ? 'n' : 'm'
  const isUp = ({ node, state }: { node: string; state: string }) => node === other && state === 'up'
  await until(async () => (await servers.sip.api<{ node: string; state: string }[]>('/api/nodes')).some(isUp), 10_000)
  const { code, stderr } = await servers.sip.cli('nodes', '--drain', name)
  assert.equal(code, 0, stderr)
  assert.equal(await servers.media[name].stop(), 0)
  assert.match(servers.media[name].log(), /"left":0/)
  await hearEachOther()
  await mum.shows('3 in the meeting')
})

test('a call of a browser with a baresip goes on when its media node is killed', async t => {
  const { sip, media } = servers
  for (const one of [mum, dad]) await one.button('Leave').click()
  await kid.hangUp()
  await until(async () => (await sip.api<unknown[]>('/api/meetings')).length === 0, 8000)
  const [down] = (await sip.api<{ node: 'm' | 'n'; state: string }[]>('/api/nodes')).filter(one => one.state === 'down')
  if (down !== undefined) await media[down.node].restart()
  const aunt = await startBaresip({
    ...{ user: 'aunt', password: await sip.addUser('aunt'), domain: sip.domain, tone: 1200, answer: 'auto' },
    server: `127.0.0.1:${sip.ports.sip}`,
  })
  t.after(() => aunt.kill())
  await mum.call('aunt')
  await mum.hears([1200])
  const name = await servers.carrier()
  const other = name === 'm' ? 'n' : 'm'
  const isUp = ({ node, state }: { node: string; state: string }) => node === other && state === 'up'
  await until(async () => (await sip.api<{ node: string; state: string }[]>('/api/nodes')).some(isUp), 10_000)
  const heard = () => Math.max(0, ...aunt.heard().map(sound => secondsOf(sound, tones.mum)))
  const killed = performance.now()
  await media[name].kill()
  await until(async () => (await servers.carrier()) === other, 8000)
  const before = heard()
  await Promise.all([mum.hears([1200]), until(() => heard() > before + 0.5, 10_000)])
  t.diagnostic(`both hear each other ${Math.round(performance.now() - killed)} ms after SIGKILL`)
  await aunt.command('hangup')
  await mum.idle()
})
