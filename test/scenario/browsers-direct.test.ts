import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { type ForeignPage, openBrowser, type TestBrowser } from '../support/browser.ts'
import { startVaartha, type TestServer } from '../support/server.ts'

// Two browsers with libraries that know nothing of this server: their SDP passes untouched and their media goes directly.

let server: TestServer
let browser: TestBrowser
const pages: ForeignPage[] = []

before(async () => {
  server = await startVaartha()
  browser = await openBrowser()
})

after(async () => {
  await browser.close()
  await server.close()
})

async function phone(library: 'jssip' | 'sipjs', user: string, tone: number): Promise<ForeignPage> {
  const password = await server.addUser(user)
  const page = await browser.foreign(library, tone)
  await page.register({
    uri: `sip:${user}@${server.domain}`,
    password,
    server: `ws://127.0.0.1:${server.ports.http}/sip`,
  })
  pages.push(page)
  return page
}

test('a JsSIP page and a SIP.js page talk, hold, resume and hang up', async () => {
  const one = await phone('jssip', 'jay', 400)
  const two = await phone('sipjs', 'sue', 600)
  await one.client('call', `sip:sue@${server.domain}`)
  await one.until({ call: 'confirmed' })
  await two.until({ call: 'confirmed' })
  await Promise.all([one.hears([600]), two.hears([400])])
  await one.client('hold')
  await one.until({ held: 'local' })
  await two.until({ held: 'remote' })
  await one.client('resume')
  await two.until({ held: false })
  await Promise.all([one.hears([600]), two.hears([400])])
  await two.client('hangUp')
  await one.until({ call: 'ended' })
})

test('a SIP.js page calls a JsSIP page, and hangs up first', async () => {
  const [one, two] = pages as [ForeignPage, ForeignPage]
  await two.client('call', `sip:jay@${server.domain}`)
  await Promise.all([one.until({ call: 'confirmed' }), two.until({ call: 'confirmed' })])
  await Promise.all([one.hears([600]), two.hears([400])])
  await two.client('hangUp')
  await one.until({ call: 'ended' })
  const calls = await server.api<unknown[]>('/api/calls')
  assert.deepEqual(calls, [])
})
