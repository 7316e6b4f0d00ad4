import assert from 'node:assert/strict'
import { X509Certificate } from 'node:crypto'
import { after, before, describe, it } from 'node:test'
import { createInvitations } from '../../../src/accounts/invitations.ts'
import { issueServer, makeAuthority } from '../../../src/certificates/authority.ts'
import { openDatabase } from '../../../src/database/database.ts'
import { createSilentLog } from '../../../src/log.ts'
import { answerChallenge, ha1Of } from '../../../src/web/digest.ts'
import { startTestHttp, type TestHttp } from '../../support/http.ts'

const password = 'a long password'

describe('what a web phone asks of its server', () => {
  let t: TestHttp
  before(async () => {
    t = await startTestHttp()
    for (const user of ['mum', 'dad']) await t.ask('POST', '/api/accounts', { user, displayName: user, password })
  })
  after(() => t.close())

  const post = (path: string, body: unknown) =>
    fetch(t.base + path, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
    })
  const request = { method: 'POST', uri: '/api/phone/session', cnonce: 'c' }
  async function signIn(user: string, ha1: string): Promise<Response> {
    const { challenge } = (await (await t.get('/api/phone/session')).json()) as { challenge: string }
    return post('/api/phone/session', { proof: answerChallenge(challenge, { user, ha1 }, request) })
  }

  it('tells everybody where it is', async () => {
    const hello = (await (await t.get('/api/phone')).json()) as Record<string, unknown>
    assert.equal(hello['domain'], 'example.org')
    assert.equal(hello['securePort'], Number(new URL(t.secureBase).port))
    assert.equal(hello['ownAuthority'], true)
  })

  it('signs in by digest, and tells people only then', async () => {
    assert.equal((await t.get('/api/people')).status, 401)
    const wrong = await signIn('mum', ha1Of('mum', 'example.org', 'another password'))
    assert.equal(wrong.status, 401)
    // A challenge in a header would have the browser ask its user.
    assert.doesNotMatch(wrong.headers.get('www-authenticate') ?? '', /digest/i)
    const right = await signIn('mum', ha1Of('mum', 'example.org', password))
    assert.equal(right.status, 200)
    assert.deepEqual(await right.json(), { user: 'mum', displayName: 'mum', mayRecord: true })
    const cookie = right.headers.get('set-cookie') ?? ''
    assert.match(cookie, /HttpOnly; SameSite=Strict$/)
    const session = { cookie: cookie.split(';')[0]! }
    await t.ask('POST', '/api/groups', { name: 'family', displayName: 'Family', members: ['mum', 'dad'] })
    assert.deepEqual(await (await t.get('/api/people', session)).json(), [
      { user: 'family', name: 'Family', online: true, group: true },
      { user: 'dad', name: 'dad', online: false, group: false },
    ])
    assert.deepEqual(await (await t.get('/api/phone/history', session)).json(), [])
    // A person is no administrator.
    assert.equal((await t.get('/api/accounts', session)).status, 401)
    assert.equal((await fetch(`${t.base}/api/phone/session`, { method: 'DELETE', headers: session })).status, 204)
    assert.equal((await t.get('/api/people', session)).status, 401)
  })

  it('does not take the same proof twice', async () => {
    const { challenge } = (await (await t.get('/api/phone/session')).json()) as { challenge: string }
    const proof = answerChallenge(challenge, { user: 'mum', ha1: ha1Of('mum', 'example.org', password) }, request)
    assert.equal((await post('/api/phone/session', { proof })).status, 200)
    assert.equal((await post('/api/phone/session', { proof })).status, 401)
    assert.equal((await post('/api/phone/session', { proof: 'Digest nonsense' })).status, 400)
  })

  it('lets one browser in by an invitation, once', async () => {
    const made = await t.ask('POST', '/api/accounts/mum/invitations')
    assert.equal(made.status, 201)
    const { link } = (await made.json()) as { link: string }
    const { pathname, hash } = new URL(link)
    assert.equal(pathname, '/join')
    const redeem = () => post('/api/invitations/redeem', { token: hash.slice(1) })
    const first = await redeem()
    assert.deepEqual(await first.json(), {
      user: 'mum',
      domain: 'example.org',
      displayName: 'mum',
      ha1: ha1Of('mum', 'example.org', password),
    })
    assert.equal((await redeem()).status, 403)
    assert.equal((await t.ask('POST', '/api/accounts/nobody/invitations')).status, 404)
    assert.equal((await post('/api/accounts/mum/invitations', {})).status, 401)
    for (let n = 0; n < 10; n++) await redeem()
    assert.equal((await redeem()).status, 429)
  })
})

describe('invitations', () => {
  it('end after a week, and with their account', async () => {
    const database = await openDatabase(':memory:', createSilentLog())
    let now = Date.UTC(2026, 0, 1)
    const invitations = createInvitations({ database, now: () => now })
    const account = (user: string) =>
      database.query
        .insertInto('accounts')
        .values({
          ...{ user, domain: 'x', display_name: '', enabled: 1, roles: 'user', created: '', md5_seen: 0 },
          ...{ ha1_sha256: '', ha1_md5: '', ha1b_sha256: '', ha1b_md5: '' },
        })
        .execute()
    await account('mum')
    await account('dad')
    const old = await invitations.make('mum', 'x')
    now += 8 * 86_400_000
    assert.equal(await invitations.redeem(old.token), undefined)
    const gone = await invitations.make('dad', 'x')
    await database.query.deleteFrom('accounts').where('user', '=', 'dad').execute()
    assert.equal(await invitations.redeem(gone.token), undefined)
    const { token } = await invitations.make('Mum', 'X')
    assert.deepEqual(await invitations.redeem(token), { user: 'mum', domain: 'x' })
    assert.equal(await invitations.redeem(token), undefined)
    await database.close()
  })
})

describe('trust', () => {
  it('hands out the authority for each system, and says where to look', async () => {
    const authority = await makeAuthority('test', Date.now())
    const pair = await issueServer(authority, ['127.0.0.1'], Date.now())
    const t = await startTestHttp({
      certificates: { current: () => pair, onChange: () => () => {}, caPem: () => authority.cert },
    })
    const der = new X509Certificate(authority.cert).raw
    const crt = await t.get('/ca.crt')
    assert.deepEqual(Buffer.from(await crt.arrayBuffer()), der)
    const profile = await t.get('/ca.mobileconfig')
    assert.equal(profile.headers.get('content-type'), 'application/x-apple-aspen-config')
    const text = await profile.text()
    assert.ok(text.includes(der.toString('base64')))
    const page = await t.get('/trust')
    const html = await page.text()
    for (const file of ['/ca.crt', '/ca.pem', '/ca.mobileconfig']) assert.ok(html.includes(`href="${file}"`), file)
    assert.equal(html.match(/<svg/g)?.length, 15)
    assert.ok(html.includes(new X509Certificate(authority.cert).fingerprint256))
    assert.ok(html.includes(`data-check="${t.secureBase}"`))
    assert.ok(page.headers.get('content-security-policy')?.includes(`connect-src 'self' ${t.secureBase}`))
    const health = (origin: string) => t.get('/health', { origin })
    assert.equal((await health(t.base)).headers.get('access-control-allow-origin'), t.base)
    assert.equal((await health('http://evil.example')).headers.get('access-control-allow-origin'), null)
    const other = await t.get('/api/phone', { origin: t.base })
    assert.equal(other.headers.get('access-control-allow-origin'), null)
    await t.close()
  })

  it('has nothing to hand out with a certificate of the operator’s', async () => {
    const pair = await issueServer(await makeAuthority('test', Date.now()), ['phone.example.org'], Date.now())
    const t = await startTestHttp({
      certificates: { current: () => pair, onChange: () => () => {}, caPem: () => undefined },
    })
    assert.equal((await t.get('/ca.crt')).status, 404)
    assert.equal((await t.get('/ca.mobileconfig')).status, 404)
    assert.match(await (await t.get('/trust')).text(), /Nothing to do here/)
    // Links lead to the name that devices trust.
    assert.equal(new URL(t.http.oneTimeLink() ?? '').hostname, 'phone.example.org')
    await t.close()
  })

  it('says that the phone is being prepared, and opens it by itself', async () => {
    const t = await startTestHttp()
    const page = await t.get('/')
    assert.equal(page.status, 503)
    assert.equal(page.headers.get('refresh'), '2')
    assert.match(await page.text(), /being prepared/)
    await t.close()
  })
})
