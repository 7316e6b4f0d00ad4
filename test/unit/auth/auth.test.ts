import assert from 'node:assert/strict'
import { hash } from 'node:crypto'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { createAuth } from '../../../src/auth/auth.ts'
import { type Algorithm, computeResponse, parseDigest } from '../../../src/auth/digest.ts'
import { createGuard } from '../../../src/auth/guard.ts'
import { createNonces } from '../../../src/auth/nonce.ts'
import { Refusal } from '../../../src/errors.ts'
import { createEvents } from '../../../src/events.ts'

const domain = 'home.test'
const uri = `sip:${domain}`
const ha1Of = (name: string) => ({
  'SHA-256': hash('sha256', `${name}:${domain}:right password`),
  MD5: hash('md5', `${name}:${domain}:right password`),
})
const proofOf = (user: string, enabled: boolean) => ({
  user,
  enabled,
  ha1: ha1Of(user),
  ha1WithDomain: ha1Of(`${user}@${domain}`),
})

function setUp(settings: { md5?: boolean; failures?: number } = {}) {
  const facts: string[] = []
  const md5: string[] = []
  const events = createEvents()
  events.on('authFailed', fact => facts.push(fact.why))
  events.on('banned', () => facts.push('banned'))
  const state = { time: 1_000_000, hashes: 0 }
  const config = {
    md5: true,
    md5Agents: [],
    nonceSeconds: 300,
    failures: 3,
    failureSeconds: 60,
    banSeconds: 300,
    ...settings,
  }
  const people = new Map([
    ['mum', proofOf('mum', true)],
    ['off', proofOf('off', false)],
  ])
  const auth = createAuth({
    config,
    domains: [domain],
    find: user => people.get(user),
    secret: Buffer.alloc(32, 7),
    events,
    onMd5: async user => {
      md5.push(user)
      if (md5.length === 1) throw new Error('the store is away')
    },
    now: () => state.time,
    hash: (algorithm, data) => {
      state.hashes++
      return hash(algorithm, data)
    },
  })
  const check = (authorization: string[], more: { source?: string; body?: string } = {}) =>
    auth.check({ method: 'REGISTER', uri, authorization, source: '192.0.2.1', ...more }, 'www')
  const refusal = async (authorization: string[], source?: string) => {
    const error = await check(authorization, source ? { source } : {}).then(
      () => undefined,
      error => error,
    )
    assert.ok(error instanceof Refusal, 'refused')
    return error
  }
  const nonce = async (source?: string) => {
    const values = (await refusal([], source)).headers['WWW-Authenticate']
    return /nonce="([^"]+)"/.exec(values?.[0] ?? '')?.[1] ?? assert.fail('no nonce')
  }
  return { facts, md5, state, auth, check, refusal, nonce }
}

function answer(
  nonce: string,
  o: {
    user?: string
    password?: string
    algorithm?: Algorithm
    nc?: number
    uri?: string
    qop?: '' | 'auth' | 'auth-int'
    body?: string
  } = {},
) {
  const { user = 'mum', password = 'right password', algorithm = 'SHA-256', nc = 1, qop = 'auth' } = o
  const ncText = nc.toString(16).padStart(8, '0')
  const digestUri = o.uri ?? uri
  const ha1 = hash(algorithm === 'MD5' ? 'md5' : 'sha256', `${user}:${domain}:${password}`)
  const parts = {
    username: user,
    realm: domain,
    nonce,
    uri: digestUri,
    response: '',
    algorithm,
    qop,
    nc,
    ncText,
    cnonce: 'c1',
  }
  const response = computeResponse(parts, { method: 'REGISTER', body: o.body ?? '' }, algorithm, ha1)
  const counted = qop === '' ? '' : `, qop=${qop}, nc=${ncText}, cnonce="c1"`
  return `Digest username="${user}", realm="${domain}", nonce="${nonce}", uri="${digestUri}", response="${response}", algorithm=${algorithm}${counted}`
}
const isStale = (error: Refusal) => (error.headers['WWW-Authenticate']?.[0] ?? '').includes('stale=true')

describe('digest', () => {
  it('gives the values of RFC 7616 section 3.9.1', () => {
    const parsed = parseDigest(
      'Digest username="Mufasa", realm="http-auth@example.org", uri="/dir/index.html", algorithm=SHA-256, nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", nc=00000001, cnonce="f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ", qop=auth, response="x"',
    )
    assert.ok(parsed)
    const a1 = 'Mufasa:http-auth@example.org:Circle of Life'
    const get = { method: 'GET' }
    assert.equal(
      computeResponse(parsed, get, 'SHA-256', hash('sha256', a1)),
      '753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1',
    )
    assert.equal(computeResponse(parsed, get, 'MD5', hash('md5', a1)), '8ca523f5e9506fed4657c9700eebdbec')
  })

  it('reads quotes, commas in quotes, UTF-8 names, and defaults to MD5', () => {
    const parsed = parseDigest(
      `DIGEST username*=UTF-8''m%C3%BCller , realm="a,b\\"c",nonce=n,uri="sip:x",response="AB"`,
    )
    assert.deepEqual(
      [parsed?.username, parsed?.realm, parsed?.response, parsed?.algorithm],
      ['müller', 'a,b\\"c', 'ab', 'MD5'],
    )
    assert.equal(parseDigest('Basic abc'), undefined)
  })

  it('throws nothing but a refusal, whatever arrives', () => {
    const piece = fc.oneof(
      fc.string(),
      fc.constantFrom('username="a"', 'username*=x', 'nc=zz', 'qop=auth', '"', '\\', '=', ',', ' '),
    )
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 20 }), pieces => {
        try {
          parseDigest(`Digest ${pieces.join('')}`)
        } catch (error) {
          assert.ok(error instanceof Refusal)
        }
      }),
      { numRuns: 500 },
    )
  })
})

describe('auth', () => {
  it('offers SHA-256 before MD5, without auth-int, and counts nothing', async () => {
    const { refusal, facts } = setUp()
    const values = (await refusal([])).headers['WWW-Authenticate'] as string[]
    assert.match(values[0] ?? '', /algorithm=SHA-256, qop="auth"$/)
    assert.match(values[1] ?? '', /algorithm=MD5, qop="auth"$/)
    assert.deepEqual(facts, [])
  })

  it('takes right answers of each algorithm, name form and qop', async () => {
    const { check, nonce } = setUp()
    for (const o of [
      {},
      { algorithm: 'MD5' },
      { user: `mum@${domain}` },
      { qop: '' },
      { uri: 'sip:x@home.test:5060' },
    ] as const) {
      assert.equal((await check([answer(await nonce(), o)])).user, 'mum')
    }
    const whole = answer(await nonce(), { qop: 'auth-int', body: 'hello' })
    await assert.rejects(check([whole], { body: 'changed' }))
    await check([whole], { body: 'hello' })
  })

  it('tells of an account that uses MD5 until that is stored, and then no more', async () => {
    const { check, nonce, md5 } = setUp()
    await check([answer(await nonce())])
    assert.deepEqual(md5, [])
    for (let i = 0; i < 4; i++) await check([answer(await nonce(), { algorithm: 'MD5' })])
    assert.deepEqual(md5, ['mum', 'mum'])
  })

  it('refuses MD5 when it is not offered, and an answer for another server', async () => {
    const { refusal, nonce } = setUp({ md5: false })
    assert.equal((await refusal([answer(await nonce(), { algorithm: 'MD5' })])).code, 'unauthorized')
    assert.equal((await refusal([answer(await nonce(), { uri: 'sip:evil.test' })])).code, 'bad-request')
  })

  it('answers an unknown user, a wrong password and a disabled account alike, with as many hashes', async () => {
    const { refusal, nonce, facts, state } = setUp({ failures: 99 })
    const counts: number[] = []
    for (const o of [{ user: 'who' }, { password: 'wrong' }, { user: 'off' }]) {
      const header = answer(await nonce(), o)
      state.hashes = 0
      const error = await refusal([header])
      counts.push(state.hashes)
      assert.equal(error.code, 'unauthorized')
      assert.equal(isStale(error), false)
    }
    assert.deepEqual(facts, ['unknown-user', 'wrong-password', 'disabled'])
    assert.deepEqual(counts, [2, 2, 2])
  })

  it('takes each count once, also out of order and with gaps', async () => {
    const { check, refusal, nonce, facts } = setUp()
    const given = await nonce()
    for (const nc of [1, 5, 3, 4, 200, 180]) await check([answer(given, { nc })])
    for (const nc of [1, 3, 200, 180]) assert.ok(isStale(await refusal([answer(given, { nc })])))
    assert.deepEqual([...new Set(facts)], ['replay'])
    const bare = answer(await nonce(), { qop: '' })
    await check([bare])
    assert.ok(isStale(await refusal([bare])))
  })

  it('calls a nonce stale that is old, foreign or of another address', async () => {
    const { check, refusal, nonce, state } = setUp()
    const header = answer(await nonce())
    await check([header])
    assert.ok(isStale(await refusal([header], '192.0.2.9')))
    state.time += 300_000
    assert.ok(isStale(await refusal([header])))
    assert.ok(isStale(await refusal([answer('f'.repeat(50))])))
  })

  it('bans an address after too many failures, and only that one, and only for a while', async () => {
    const { check, refusal, nonce, facts, state } = setUp()
    const bad = answer(await nonce(), { password: 'wrong' })
    for (let i = 0; i < 3; i++) await refusal([bad])
    assert.equal(facts.at(-1), 'banned')
    assert.equal((await refusal([])).code, 'forbidden')
    await check([answer(await nonce('192.0.2.2'))], { source: '192.0.2.2' })
    state.time += 300_000
    await check([answer(await nonce())])
  })
})

describe('a ban', () => {
  it('lets through who proved himself from that address, until he fails as often', async () => {
    const { check, refusal, nonce } = setUp()
    await check([answer(await nonce())])
    const wrong = answer(await nonce(), { user: 'nobody', password: 'wrong' })
    for (let i = 0; i < 3; i++) await refusal([wrong])
    assert.equal((await refusal([wrong])).code, 'forbidden')
    assert.equal((await refusal([])).code, 'unauthorized')
    await check([answer(await nonce())])
    for (let i = 0; i < 3; i++) await refusal([answer(await nonce(), { password: 'wrong' })])
    assert.equal((await refusal([])).code, 'forbidden')
  })
})

describe('bounds', () => {
  it('does not take a forgotten nonce for an unused one', () => {
    let time = 1000
    const nonces = createNonces({ secret: Buffer.alloc(32), seconds: 300, now: () => time, most: 2 })
    const first = nonces.make('a')
    for (const nonce of [first, nonces.make('a')]) assert.ok(nonces.use(nonce, 1))
    time++
    assert.ok(nonces.use(nonces.make('a'), 1))
    assert.equal(nonces.valid(first, 'a'), false)
    assert.ok(nonces.valid(nonces.make('a'), 'a'))
  })

  it('counts an IPv6 network as one and keeps the table small', () => {
    const config = { failures: 2, failureSeconds: 60, banSeconds: 300 }
    const guard = createGuard({ config, events: createEvents(), now: () => 0, most: 3 })
    guard.failed('2001:db8::1')
    guard.failed('2001:db8:0:0:5::2')
    assert.ok(guard.banned('2001:db8::ffff'))
    assert.equal(guard.banned('2001:db8:0:1::1'), false)
    for (const source of ['a', 'b', 'c']) guard.failed(source)
    assert.equal(guard.banned('2001:db8::ffff'), false)
  })
})
