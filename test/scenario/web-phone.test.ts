import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { openBrowser, type TestBrowser } from '../support/browser.ts'
import { freePorts, startVaartha, type TestServer } from '../support/server.ts'
import { isOnline, openWebPhone, type WebPhone, webPhone, webUrl } from '../support/web-phone.ts'

// A page that is told no candidate but the server's, and only those on loopback, which the server listens on.
const deaf = `{
  const { prototype } = RTCPeerConnection
  const take = prototype.setRemoteDescription
  prototype.setRemoteDescription = function ({ type, sdp }) {
    const server = sdp.includes('a=ice-lite')
    const keeps = line => !line.startsWith('a=candidate') || (server && line.includes(' 127.0.0.1 '))
    return take.call(this, { type, sdp: sdp.split('\\r\\n').filter(keeps).join('\\r\\n') })
  }
}`

describe('web phone', () => {
  let server: TestServer
  let browser: TestBrowser
  const passwords = new Map<string, string>()
  const open: WebPhone[] = []

  before(async () => {
    const [port] = (await freePorts(1)) as [number]
    server = await startVaartha({ settings: { VAARTHA_MEDIA_PORT: String(port) } })
    browser = await openBrowser()
    for (const [user, name] of [
      ['mum', 'Mum'],
      ['dad', 'Dad'],
      ['kid', 'Kid'],
    ] as const)
      passwords.set(user, await server.addUser(user, name))
    // The first start of all builds the phone.
    while ((await fetch(webUrl(server))).status !== 200) await new Promise(done => setTimeout(done, 200))
  })
  after(async () => {
    await browser?.close()
    await server?.close()
  })

  const phones = (...names: [string, number][]) =>
    Promise.all(
      names.map(async ([name, tone]) => {
        const phone = await openWebPhone(browser, server, { name, tone, password: passwords.get(name) ?? '' })
        open.push(phone)
        return phone
      }),
    )
  const closeAll = () => Promise.all(open.splice(0).map(phone => phone.close()))

  it('opens by an invitation, once, and asks no other host for anything', async () => {
    const { stdout } = await server.cli('invite', 'mum')
    const [link] = stdout.split('\n')
    const opened = await browser.open(link ?? '', 600)
    const foreign: string[] = []
    opened.page.on('request', request => {
      if (new URL(request.url()).hostname !== '127.0.0.1' && !request.url().startsWith('blob:'))
        foreign.push(request.url())
    })
    const mum = await webPhone(opened, 'mum')
    await mum.shows('Mum')
    assert.equal(new URL(mum.page.url()).pathname, '/')
    assert.doesNotMatch(await mum.page.evaluate('JSON.stringify(localStorage)'), /password/i)
    const late = await browser.open(link ?? '', 0)
    await late.page.getByText('This invitation is used up').waitFor()
    await late.close()
    await mum.page.reload()
    await isOnline(mum.page)
    assert.deepEqual(foreign, [])
    await mum.close()
  })

  it('keeps to its policy: nothing is loaded or run that it does not allow', async () => {
    const answer = await fetch(webUrl(server))
    const policy = answer.headers.get('content-security-policy') ?? ''
    assert.match(policy, /script-src 'self';/)
    assert.doesNotMatch(policy, /unsafe|\*/)
    const html = await answer.text()
    assert.doesNotMatch(html, /<script>|style=|https?:/)
    const [, script = ''] = /src="(\/web\/[^"]+\.js)"/.exec(html) ?? []
    const file = await fetch(webUrl(server, script))
    assert.match(file.headers.get('cache-control') ?? '', /immutable/)
    assert.equal((await fetch(webUrl(server, '/web/..%2Fmade-of.txt'))).status, 404)
    const named = await fetch(webUrl(server), { headers: { cookie: 'vaartha-servers=office.example:8443~evil;x~*' } })
    const connect = /connect-src ([^;]*)/.exec(named.headers.get('content-security-policy') ?? '')?.[1] ?? ''
    assert.deepEqual(connect.split(' ').slice(-2), ['wss://office.example:8443', 'wss://evil'])
  })

  it('is installable, and opens without a network', async () => {
    const [mum] = (await phones(['mum', 600])) as [WebPhone]
    const manifest = (await (await fetch(webUrl(server, '/manifest.webmanifest'))).json()) as {
      icons: { src: string }[]
    }
    for (const { src } of manifest.icons)
      assert.equal((await fetch(webUrl(server, src))).headers.get('content-type'), 'image/png')
    await mum.page.evaluate('navigator.serviceWorker.ready.then(() => undefined)')
    // The first page was there before its service worker.
    await mum.page.reload()
    await isOnline(mum.page)
    await mum.page.context().setOffline(true)
    await mum.page.reload()
    await mum.shows('No connection')
    await mum.page.context().setOffline(false)
    await isOnline(mum.page)
    await closeAll()
  })

  it('refuses a wrong password in words', async () => {
    const opened = await browser.open(webUrl(server), 0)
    await opened.page.getByLabel('Name').fill('mum')
    await opened.page.getByLabel('Password').fill('not the password')
    await opened.page.getByRole('button', { name: 'Sign in' }).click()
    await opened.page.getByText('This name and password do not fit.').waitFor()
    await opened.close()
  })

  it('calls, answers, mutes, holds, sends keys and hangs up', async () => {
    const [mum, dad] = (await phones(['mum', 600], ['dad', 800])) as [WebPhone, WebPhone]
    await mum.call('dad')
    await mum.shows('It rings')
    await dad.page.getByRole('alertdialog', { name: 'Mum calls you' }).waitFor()
    await dad.answer()
    await Promise.all([mum.hears([800]), dad.hears([600])])
    await mum.shows('direct')

    await mum.button('Mute').click()
    await dad.hears([], { not: [600], ms: 1000 })
    await mum.button('Unmute').click()
    await dad.hears([600])

    await mum.button('Hold').click()
    await dad.shows('You are on hold')
    await mum.shows('On hold')
    await dad.hears([], { not: [600], ms: 1000 })
    await mum.button('Resume').click()
    await dad.shows('In the call')
    await Promise.all([mum.hears([800]), dad.hears([600])])

    await mum.button('Keypad').click()
    const heard = dad.hears([700], { ms: 80 })
    await mum.button('1').click()
    await heard

    await dad.button('Hang up').click()
    await Promise.all([mum.idle(), dad.idle()])
    await mum.button('Calls').click()
    await mum.shows('to dad')
    await closeAll()
  })

  it('goes on with the call when the page is loaded anew', async () => {
    const [mum, dad] = (await phones(['mum', 600], ['dad', 800])) as [WebPhone, WebPhone]
    await mum.call('dad')
    await dad.answer()
    await dad.hears([600])
    const began = Date.now()
    await mum.page.reload()
    await dad.hears([600])
    await mum.hears([800])
    assert.ok(Date.now() - began < 10_000, `it took ${Date.now() - began} ms`)
    await mum.shows('In the call')
    await mum.button('Hang up').click()
    await Promise.all([mum.idle(), dad.idle()])
    await closeAll()
  })

  it('keeps the call when its connection to the server breaks', async () => {
    const [mum, dad] = (await phones(['mum', 600], ['dad', 800])) as [WebPhone, WebPhone]
    const line = await breakable(mum)
    await mum.page.reload()
    await isOnline(mum.page)
    await mum.call('dad')
    await dad.answer()
    await dad.hears([600])
    await line.cut()
    await mum.shows('No connection')
    await Promise.all([dad.hears([600]), mum.hears([800])])
    await isOnline(mum.page)
    await mum.shows('In the call')
    // The server finds it over the new connection.
    await dad.button('Hold').click()
    await mum.shows('You are on hold')
    await dad.button('Hang up').click()
    await mum.idle()
    await closeAll()
  })

  it('takes a call up again that broke in the middle of a request', async () => {
    const [mum, dad] = (await phones(['mum', 600], ['dad', 800])) as [WebPhone, WebPhone]
    const line = await breakable(mum)
    await mum.page.reload()
    await isOnline(mum.page)
    await mum.call('dad')
    await dad.answer()
    await dad.hears([600])
    line.swallow()
    await mum.button('Hold').click()
    await dad.hears([], { not: [600] })
    await line.cut()
    await mum.shows('mending')
    await isOnline(mum.page)
    await Promise.all([dad.hears([600]), mum.hears([800])])
    await mum.shows('In the call')
    await mum.button('Hang up').click()
    await dad.idle()
    await closeAll()
  })

  it('lets the server carry a call whose two ends do not reach each other', async () => {
    const [mum, dad] = (await phones(['mum', 600], ['dad', 800])) as [WebPhone, WebPhone]
    for (const one of [mum, dad]) {
      await one.page.addInitScript(deaf)
      await one.page.reload()
      await isOnline(one.page)
    }
    await mum.call('dad')
    await dad.answer()
    await Promise.all([mum.hears([800]), dad.hears([600])])
    await Promise.all([mum.shows('through vaartha'), dad.shows('through vaartha')])
    await dad.button('Hang up').click()
    await mum.idle()
    await closeAll()
  })

  it('hands a call over at once, and after having asked', async () => {
    const [mum, dad, kid] = (await phones(['mum', 600], ['dad', 800], ['kid', 1000])) as [WebPhone, WebPhone, WebPhone]
    await mum.call('dad')
    await dad.answer()
    await dad.hears([600])
    await dad.button('Transfer').click()
    await dad.page.getByLabel('Hand this call over to').fill('kid')
    await dad.button('Hand over').click()
    await kid.answer()
    await Promise.all([mum.hears([1000]), kid.hears([600]), dad.idle()])

    await kid.button('Transfer').click()
    await kid.page.getByLabel('Hand this call over to').fill('dad')
    await kid.button('Ask first').click()
    await dad.answer()
    await Promise.all([kid.hears([800]), dad.hears([1000])])
    await kid.button('Transfer').click()
    await kid.button(/^Connect with/).click()
    await Promise.all([mum.hears([800]), dad.hears([600]), kid.idle()])
    await mum.button('Hang up').click()
    await Promise.all([mum.idle(), dad.idle()])
    await closeAll()
  })
})

/** Puts a hand on the WebSockets that a page opens from now on. */
async function breakable(one: WebPhone): Promise<{ swallow(): void; cut(): Promise<void> }> {
  let cut: () => Promise<void> = async () => assert.fail('no connection was made')
  let swallows = false
  await one.page.routeWebSocket(/\/sip$/, socket => {
    const onward = socket.connectToServer()
    swallows = false
    socket.onMessage(message => {
      if (!swallows) onward.send(message)
    })
    cut = async () => {
      await socket.close({ code: 1001 })
      await onward.close()
    }
  })
  return {
    swallow() {
      swallows = true
    },
    cut: () => cut(),
  }
}
