import assert from 'node:assert/strict'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { nkeys } from '@nats-io/transport-node'
import { issueServer, makeAuthority } from '../../src/certificates/authority.ts'
import { createDesk } from '../../src/cluster/desk.ts'
import { createLocalBus } from '../../src/cluster/local-bus.ts'
import { createNatsBus } from '../../src/cluster/nats-bus.ts'
import { createSilentLog } from '../../src/log.ts'
import { startNats } from '../support/nats.ts'

// Each way by which nats-server lets somebody in, over TLS, with a certificate of an authority of our own.

const log = createSilentLog()

async function until(fact: () => boolean, why: () => string): Promise<void> {
  for (const late = performance.now() + 10_000; !fact(); await new Promise(resolve => setTimeout(resolve, 5))) {
    if (performance.now() > late) throw new Error(why())
  }
}

function openBus(node: string, url: string) {
  const direct = createLocalBus({ node, log })
  return createNatsBus({ url, name: 'test', node, direct, desk: createDesk(log), log })
}

interface Case {
  name: string
  rules: string[]
  /** What stands before and after the host in a URL that is let in, and in those that are not. */
  right?: [who: string, files: string]
  wrong: [who: string, files: string][]
  why: RegExp
}

test('over TLS, with each kind of proof: only the right authority, and only the right proof', {
  timeout: 60_000,
}, async t => {
  const dir = await mkdtemp(join(tmpdir(), 'vaartha-nats-'))
  t.after(() => rm(dir, { recursive: true, force: true }))
  const file = async (name: string, text: string | Uint8Array) => {
    await writeFile(join(dir, name), text)
    return join(dir, name)
  }
  const [authority, other] = [await makeAuthority('nats', Date.now()), await makeAuthority('other', Date.now())]
  const issued = await issueServer(authority, ['127.0.0.1'], Date.now())
  const [cert, key] = [await file('server.crt', issued.cert), await file('server.key', issued.key)]
  const [ca, foreign] = [await file('ca.crt', authority.cert), await file('other.crt', other.cert)]
  const [ann, eve] = [nkeys.createUser(), nkeys.createUser()]
  const [seed, strange] = [await file('ann.seed', ann.getSeed()), await file('eve.seed', eve.getSeed())]
  const trust = trustOf(ann)
  const creds = await file('ann.creds', trust.creds)
  const stolen = await file('eve.creds', trust.creds.replace(textOf(ann.getSeed()), textOf(eve.getSeed())))
  const tls = `tls { cert_file: "${cert}", key_file: "${key}" }`
  const password = 'authorization { user: vaartha, password: "of a test" }'
  const known = 'vaartha:of%20a%20test@'
  const cases: Case[] = [
    {
      name: 'user and password',
      rules: [tls, password],
      right: [known, `?ca=${ca}`],
      wrong: [['vaartha:guessed@', `?ca=${ca}`]],
      why: /Auth/i,
    },
    {
      name: 'another authority',
      rules: [tls, password],
      wrong: [[known, `?ca=${foreign}`]],
      why: /certificate|signature/i,
    },
    {
      name: 'token',
      rules: [tls, 'authorization { token: "a token" }'],
      right: ['a%20token@', `?ca=${ca}`],
      wrong: [['guessed@', `?ca=${ca}`]],
      why: /Auth/i,
    },
    {
      name: 'nkey',
      rules: [tls, `authorization { users: [ { nkey: ${ann.getPublicKey()} } ] }`],
      right: ['', `?ca=${ca}&nkey=${seed}`],
      wrong: [['', `?ca=${ca}&nkey=${strange}`]],
      why: /Auth/i,
    },
    {
      name: 'credentials',
      rules: [tls, ...trust.rules],
      right: ['', `?ca=${ca}&creds=${creds}`],
      wrong: [['', `?ca=${ca}&creds=${stolen}`]],
      why: /Auth/i,
    },
    {
      name: 'a server that offers no TLS is told nothing',
      rules: [password],
      wrong: [[known, `?ca=${ca}`]],
      why: /tls/i,
    },
  ]
  for (const { name, rules, right, wrong, why } of cases) {
    const nats = await startNats(undefined, undefined, undefined, rules)
    const urlOf = ([who, files]: [string, string]) => `tls://${who}127.0.0.1:${nats.port}${files}`
    if (right !== undefined) {
      const [a, b] = [openBus('a', urlOf(right)), openBus('b', urlOf(right))]
      b.answer('who', async (_question, from) => `b asked by ${from}`)
      await until(
        () => a.healthy() && b.healthy(),
        () => `${name}: ${a.why()}`,
      )
      assert.equal(await a.ask('b', 'who', null), 'b asked by a', name)
      await Promise.all([a.close(), b.close()])
    }
    for (const one of wrong) {
      const c = openBus('c', urlOf(one))
      await until(
        () => why.test(c.why()),
        () => `${name}: ${c.why()}`,
      )
      assert.equal(c.healthy(), false, name)
      await c.close()
    }
    await nats.stop()
  }
})

test('what cannot be a NATS is refused before anything is tried', () => {
  for (const [url, message] of [
    ['http://127.0.0.1', /nats:\/\//],
    ['nonsense', /nats:\/\//],
    ['nats://127.0.0.1?creds=/nowhere/x', /creds.*ENOENT/],
    ['nats://127.0.0.1?credits=x', /no \?credits/],
    ['nats://127.0.0.1?ca=/dev/null', /tls:\/\//],
  ] as const) {
    assert.throws(() => openBus('a', url), { code: 'bad-config', message })
  }
})

const textOf = (bytes: Uint8Array) => Buffer.from(bytes).toString()

/** A user whom a nats-server lets in by JWTs: what is in its configuration, and the file of the user. */
function trustOf(user: ReturnType<typeof nkeys.createUser>): { rules: string[]; creds: string } {
  const [operator, account] = [nkeys.createOperator(), nkeys.createAccount()]
  const jwt = (signer: typeof operator, sub: string, nats: { type: string; [claim: string]: unknown }) => {
    const part = (what: object) => Buffer.from(JSON.stringify(what)).toString('base64url')
    const { type: name } = nats
    const claims = { jti: name, iat: Math.floor(Date.now() / 1000), iss: signer.getPublicKey(), name, sub }
    const text = `${part({ typ: 'JWT', alg: 'ed25519-nkey' })}.${part({ ...claims, nats: { ...nats, version: 2 } })}`
    return `${text}.${Buffer.from(signer.sign(Buffer.from(text))).toString('base64url')}`
  }
  const most = { subs: -1, conn: -1, leaf: -1, imports: -1, exports: -1, data: -1, payload: -1, wildcards: true }
  const accountJwt = jwt(operator, account.getPublicKey(), { type: 'account', limits: most })
  const userJwt = jwt(account, user.getPublicKey(), { type: 'user', subs: -1, data: -1, payload: -1 })
  const block = (what: string, text: string) => `-----BEGIN ${what}-----\n${text}\n------END ${what}------\n\n`
  return {
    rules: [
      `operator: "${jwt(operator, operator.getPublicKey(), { type: 'operator' })}"`,
      'resolver: MEMORY',
      `resolver_preload: { ${account.getPublicKey()}: "${accountJwt}" }`,
    ],
    creds: block('NATS USER JWT', userJwt) + block('USER NKEY SEED', textOf(user.getSeed())),
  }
}
