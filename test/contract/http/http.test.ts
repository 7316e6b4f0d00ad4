import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer as createHttpServer } from 'node:http'
import { connect, createServer } from 'node:net'
import { after, before, describe, it } from 'node:test'
import { connect as connectTls } from 'node:tls'
import { createEvents } from '../../../src/events.ts'
import { listen } from '../../../src/http/listeners.ts'
import { createLive } from '../../../src/http/live.ts'
import { createSilentLog } from '../../../src/log.ts'
import { startTestHttp, type TestHttp, token } from '../../support/http.ts'
import { freePorts } from '../../support/server.ts'

describe('http', () => {
  let t: TestHttp
  let upgrades: string[] = []
  before(async () => {
    t = await startTestHttp({
      acceptWebSocket: (request, socket, _head, secure) => {
        upgrades.push(`${request.url} ${secure}`)
        socket.end('HTTP/1.1 101 taken\r\n\r\n')
      },
    })
  })
  after(() => t.close())

  it('tells health to everybody', async () => {
    const media = { sfu: 'ready', why: 'built', mixer: { on: false, why: 'away' } }
    assert.deepEqual(await (await t.get('/health')).json(), { status: 'ok', media })
    assert.deepEqual(await (await t.get('/health/ready')).json(), { ready: true, degraded: false, reasons: [] })
  })

  it('answers the API to the administrator only', async () => {
    for (const path of [
      'status',
      'registrations',
      'calls',
      'messages/kept',
      'history',
      'accounts',
      'openapi.json',
      'events',
    ]) {
      const refused = await t.get(`/api/${path}`)
      assert.equal(refused.status, 401, path)
      assert.equal(((await refused.json()) as { error: string }).error, 'unauthorized')
      assert.equal((await t.get(`/api/${path}`, { authorization: `Bearer ${token}x` })).status, 401, path)
      if (path !== 'events') assert.equal((await t.ask('GET', `/api/${path}`)).status, 200, path)
    }
    assert.equal((await t.get('/docs/')).status, 401)
    const docs = await t.ask('GET', '/docs/')
    assert.equal(docs.status, 200)
    // It works without the Internet: the page names no other host, and its policy would load nothing from one.
    assert.doesNotMatch(await docs.text(), /(src|href)="(https?:)?\/\//)
    assert.doesNotMatch(docs.headers.get('content-security-policy') ?? '', /https?:/)
  })

  it('shows status, registrations and calls', async () => {
    const status = (await (await t.ask('GET', '/api/status')).json()) as Record<string, unknown>
    assert.equal(status['registrations'], 1)
    assert.equal(status['calls'], 1)
    assert.deepEqual(status['parts'], { TLS: { on: true, why: 'a <reason>' } })
    const page = (await (await t.ask('GET', '/api/registrations?limit=5')).json()) as { bindings: { aor: string }[] }
    assert.equal(page.bindings[0]?.aor, 'sip:ann@example.org')
    assert.equal((await t.ask('GET', '/api/registrations?limit=0')).status, 400)
    assert.equal((await t.ask('GET', '/api/registrations?nonsense=1')).status, 400)
    assert.equal((await t.ask('DELETE', '/api/calls/call-1')).status, 204)
    assert.equal((await t.ask('DELETE', '/api/calls/other')).status, 404)
    const nobody = encodeURIComponent('sip:nobody@example.org')
    assert.equal((await t.ask('DELETE', `/api/registrations/${nobody}`)).status, 404)
  })

  it('adds, changes and removes people', async () => {
    const made = await t.ask('POST', '/api/accounts', { user: 'mum', displayName: 'Mum' })
    assert.equal(made.status, 201)
    assert.ok(((await made.json()) as { password: string }).password.length >= 10)
    assert.equal((await t.ask('POST', '/api/accounts', { user: 'mum' })).status, 409)
    assert.equal((await t.ask('POST', '/api/accounts', { user: 'dad', rolse: [] })).status, 400)
    const changed = await t.ask('PATCH', '/api/accounts/mum', { enabled: false, newPassword: true })
    const body = (await changed.json()) as { account: { enabled: boolean; ha1?: unknown }; password: string }
    assert.equal(body.account.enabled, false)
    assert.equal(body.account.ha1, undefined)
    assert.ok(body.password.length >= 10)
    assert.equal((await t.ask('DELETE', '/api/accounts/mum')).status, 204)
    assert.equal((await t.ask('DELETE', '/api/accounts/mum')).status, 404)
    assert.equal((await t.ask('POST', '/api/accounts', { user: 'x'.repeat(70_000) })).status, 413)
  })

  it('signs a browser in once with a link, and refuses other sites', async () => {
    const { link } = (await (await t.ask('POST', '/api/admin/link')).json()) as { link: string }
    const path = new URL(link).pathname
    const post = (to: string) => fetch(t.base + to, { method: 'POST', body: new URLSearchParams(), redirect: 'manual' })
    // Previews of the link use nothing up, and its page does not tell a good code from a wrong one.
    assert.equal((await fetch(link, { method: 'HEAD' })).status, 200)
    const shown = await (await t.get(path)).text()
    assert.match(shown, /<form method="post">/)
    assert.equal(shown, await (await t.get('/setup/wrong')).text())
    const first = await post(path)
    assert.equal(first.status, 303)
    const cookie = first.headers.get('set-cookie') ?? ''
    assert.match(cookie, /HttpOnly; SameSite=Strict$/)
    const again = await post(path)
    assert.equal(again.status, 403)
    assert.equal(await again.text(), await (await post('/setup/wrong')).text())
    const session = { cookie: cookie.split(';')[0]! }
    assert.equal((await t.get('/api/status', session)).status, 200)
    assert.match(await (await t.get('/status', session)).text(), /a &#60;reason&#62;/)
    const remove = (origin: Record<string, string>) =>
      fetch(`${t.base}/api/admin/session`, { method: 'DELETE', headers: { ...session, ...origin } })
    assert.equal((await remove({})).status, 403)
    assert.equal((await remove({ origin: 'http://evil.example' })).status, 403)
    assert.equal((await remove({ origin: t.base })).status, 204)
    assert.equal((await t.get('/api/status', session)).status, 401)
  })

  it('shows a page without foreign hosts', async () => {
    const page = await t.get('/status')
    assert.match(page.headers.get('content-security-policy') ?? '', /default-src 'none'/)
    const text = await page.text()
    assert.match(text, /vaartha admin link/)
    assert.match(text, /192\.0\.2\.1:5060/)
    assert.doesNotMatch(text, /https?:\/\//)
    for (const asset of ['page.css', 'page.js']) assert.equal((await t.get(`/assets/${asset}`)).status, 200)
    assert.match((await t.get('/nowhere')).headers.get('content-type') ?? '', /html/)
    assert.match((await t.get('/api/nowhere')).headers.get('content-type') ?? '', /json/)
  })

  it('counts facts for Prometheus', async () => {
    t.events.emit('sipMessage', { direction: 'in', method: 'REGISTER', status: 0, protocol: 'udp' })
    t.events.emit('sipMessage', { direction: 'out', method: 'INVENTED', status: 404, protocol: 'udp' })
    t.events.emit('registerAnswered', { status: 200, ms: 2 })
    const text = await (await t.get('/metrics')).text()
    assert.match(text, /vaartha_sip_messages_total\{direction="in",method="REGISTER",status="request"\} 1\n/)
    assert.match(text, /vaartha_sip_messages_total\{direction="out",method="other",status="4xx"\} 1\n/)
    assert.match(text, /vaartha_register_seconds_count\{status="200"\} 1\n/)
    assert.match(text, /vaartha_registrations 1\n/)
    assert.match(text, /vaartha_media_worker_legs 2\n/)
    assert.match(text, /vaartha_media_packets\{direction="dropped"\} 9\n/)
    for (const line of text.split('\n').filter(line => line !== ''))
      assert.match(line, /^(# (HELP|TYPE) .+|[a-z_]+(\{.*\})? \S+)$/)
  })

  it('sends facts live', async () => {
    assert.equal((await t.ask('GET', '/api/events?facts=nonsense')).status, 400)
    const answer = await t.ask('GET', '/api/events?facts=banned')
    assert.equal(answer.headers.get('content-type'), 'text/event-stream')
    const reader = answer.body!.pipeThrough(new TextDecoderStream()).getReader()
    await reader.read()
    t.events.emit('storeRecovered', { store: 'records' })
    t.events.emit('banned', { source: '192.0.2.9', seconds: 5 })
    const { value } = await reader.read()
    assert.equal(value, 'event: banned\ndata: {"source":"192.0.2.9","seconds":5}\n\n')
    await reader.cancel()
  })

  it('hands WebSockets on /sip over, plain and secure, and no other path', async () => {
    upgrades = []
    const ask = 'HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n'
    const plain = connect(Number(new URL(t.base).port), '127.0.0.1').end(`GET /sip ${ask}`)
    assert.match(String((await once(plain, 'data'))[0]), /101/)
    const options = { host: '127.0.0.1', port: Number(new URL(t.secureBase).port), rejectUnauthorized: false }
    const secure = connectTls(options, () => secure.write(`GET /sip ${ask}`))
    assert.match(String((await once(secure, 'data'))[0]), /101/)
    secure.destroy()
    const wrong = connect(Number(new URL(t.base).port), '127.0.0.1').end(`GET /other ${ask}`)
    assert.match(String((await once(wrong, 'data'))[0]), /404/)
    assert.deepEqual(upgrades, ['/sip false', '/sip true'])
  })
})

it('makes an address that tries wrong tokens wait, and leaves its signed-in browsers alone', async () => {
  const t = await startTestHttp()
  const wrong = { authorization: `Bearer ${token}x` }
  for (let n = 0; n < 20; n++) assert.equal((await t.get('/api/status', wrong)).status, 401)
  assert.equal((await t.get('/api/status', wrong)).status, 429)
  assert.equal((await t.ask('GET', '/api/status')).status, 429)
  assert.equal((await t.get('/status')).status, 200)
  await t.close()
})

it('has no one-time link while it listens nowhere', async () => {
  const t = await startTestHttp({ addresses: { current: () => [], onChange: () => () => {}, close() {} } })
  assert.equal(t.http.oneTimeLink(), undefined)
  await t.close()
})

it('prints no warning at its start', async () => {
  const warnings: Error[] = []
  const listener = (warning: Error) => warnings.push(warning)
  process.on('warning', listener)
  await (await startTestHttp()).close()
  await new Promise(setImmediate)
  process.off('warning', listener)
  assert.deepEqual(warnings, [])
})

it('takes metrics from nobody when they are off, and drops strangers', async () => {
  const [port] = await freePorts(1)
  const off = await startTestHttp({ config: { enabled: true, port: port!, securePort: 0, metrics: 'off' } })
  const answer = await fetch(`http://127.0.0.1:${port}/metrics`, { headers: { authorization: `Bearer ${token}` } })
  assert.equal(answer.status, 403)
  await off.close()
  const t = await startTestHttp({ allowed: () => false })
  await assert.rejects(t.get('/health'))
  await t.close()
  await t.http.close()
})

it('takes the next port when the first is in use, and names the last', async () => {
  const [free] = (await freePorts(1)) as [number]
  const other = createServer().listen(0, '127.0.0.1')
  await once(other, 'listening')
  const { port } = other.address() as { port: number }
  const address = {
    interface: 'lo',
    address: '127.0.0.1',
    family: 4,
    netmask: '',
    prefix: 8,
    internal: true,
    scope: 0,
  } as const
  const deps = {
    addresses: { current: () => [address], onChange: () => () => {}, close() {} },
    setting: 'http.port',
    create: () => createHttpServer(),
    log: createSilentLog(),
  }
  const listeners = await listen({ ...deps, ports: [port, free] })
  assert.deepEqual(listeners.points(), [{ address: '127.0.0.1', port: free }])
  await listeners.close()
  await assert.rejects(listen({ ...deps, ports: [port] }), new RegExp(`port ${port} on 127.0.0.1 is in use.*http.port`))
  other.close()
})

it('drops a live view that does not read', () => {
  const events = createEvents()
  const live = createLive(events)
  const done: string[] = []
  const leave = live.add({ write: text => done.push(text), destroy: () => done.push('gone'), writableLength: 1e6 }, [
    'banned',
  ])
  events.emit('banned', { source: '192.0.2.9', seconds: 5 })
  assert.deepEqual(done, ['gone'])
  leave()
  events.emit('banned', { source: '192.0.2.9', seconds: 5 })
  assert.deepEqual(done, ['gone'])
})
