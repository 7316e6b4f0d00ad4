import assert from 'node:assert/strict'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, afterEach, before, describe, it } from 'node:test'
import { makeAuthority } from '../../src/certificates/authority.ts'
import { openCertificates } from '../../src/certificates/certificates.ts'
import { checkCertificate } from '../../src/cli/examine.ts'
import { createSealer } from '../../src/cluster/seal.ts'
import { createSharedSecrets } from '../../src/cluster/secrets.ts'
import { complete } from '../../src/config/load.ts'
import { createEvents } from '../../src/events.ts'
import { createSilentLog } from '../../src/log.ts'
import { createRedisLink } from '../../src/redis/link.ts'
import type { RedisLink } from '../../src/redis/redis.ts'
import { clusterSecret } from '../support/directory.ts'
import { type RedisServer, startRedis } from '../support/redis.ts'

describe('what all nodes must have alike', () => {
  const folder = mkdtempSync(join(tmpdir(), 'vaartha-secrets-'))
  const log = createSilentLog()
  const links: RedisLink[] = []
  const closes: (() => void)[] = []
  let redis: RedisServer
  let trial = 0

  before(async () => {
    redis = await startRedis()
  })
  afterEach(async () => {
    for (const close of closes.splice(0)) close()
    for (const link of links.splice(0)) await link.close()
  })
  after(async () => {
    await redis.stop()
    rmSync(folder, { recursive: true, force: true })
  })

  const place = (node: string) => {
    const path = join(folder, `${trial}`, node)
    mkdirSync(path, { recursive: true })
    return path
  }
  async function link(url = redis.url, timeoutMs = 5000): Promise<RedisLink> {
    const made = createRedisLink({ config: { redis: url, prefix: 't', timeoutMs }, events: createEvents(), log })
    links.push(made)
    await made.ready()
    return made
  }
  const secretsOf = (to: RedisLink, secret = clusterSecret) =>
    createSharedSecrets({ redis: to, sealer: createSealer([secret]), prefix: `t${trial}`, log, firstMs: 100 })

  async function certificatesOf(node: string, to: RedisLink, replaceable = false, heard = log) {
    const secrets = secretsOf(to)
    const made = await openCertificates({
      directory: join(place(node), 'certificates'),
      cert: '',
      key: '',
      names: () => ['vaartha.local'],
      agree: (good, ours) => secrets.agree('authority', good, ours),
      replaceable,
      log: heard,
      events: createEvents(),
    })
    closes.push(() => made.close())
    return made
  }

  it('gives two fresh nodes that start at once one key, in fifty races', async () => {
    const [one, two] = [await link(), await link()]
    for (let n = 0; n < 50; n++) {
      trial++
      const [a, b] = await Promise.all([
        secretsOf(one).bytes(join(place('a'), 'gruu.key'), 32),
        secretsOf(two).bytes(join(place('b'), 'gruu.key'), 32),
      ])
      assert.equal(a.toString('hex'), b.toString('hex'))
      assert.equal(
        readFileSync(join(place('a'), 'gruu.key'), 'utf8'),
        readFileSync(join(place('b'), 'gruu.key'), 'utf8'),
      )
    }
  })

  it('gives them one authority, in fifty races', async () => {
    const [one, two] = [await link(), await link()]
    const made = await Promise.all(Array.from({ length: 20 }, (_, n) => makeAuthority(`${n}`, Date.now())))
    for (let n = 0; n < 50; n++) {
      trial++
      const ours = (which: number) => async () => JSON.stringify(made[which % 20])
      const agree = (to: RedisLink, which: number) => secretsOf(to).agree('authority', () => true, ours(which))
      const [a, b] = await Promise.all([agree(one, n), agree(two, n + 1)])
      assert.equal(a, b)
    }
    trial++
    const said: string[] = []
    const hearing = { ...log, warn: (text: unknown) => said.push(String(text)) } as unknown as typeof log
    const both = [certificatesOf('a', one, false, hearing), certificatesOf('b', two, false, hearing)] as const
    const [a, b] = await Promise.all(both)
    assert.equal(a.caPem(), b.caPem())
    assert.notEqual(a.current().cert, b.current().cert)
    assert.equal(said.filter(text => text.includes('a new local authority was made')).length, 1)
  })

  it('starts from its files without Redis, but not for the first time', async () => {
    trial++
    const file = join(place('a'), 'gruu.key')
    const key = await secretsOf(await link()).bytes(file, 32)
    const authority = (await certificatesOf('a', await link())).caPem()
    const away = await link('redis://127.0.0.1:1', 100)
    assert.deepEqual(await secretsOf(away).bytes(file, 32), key)
    assert.equal((await certificatesOf('a', away)).caPem(), authority)
    await assert.rejects(secretsOf(away).bytes(join(place('b'), 'gruu.key'), 32), { code: 'store-unavailable' })
    await assert.rejects(certificatesOf('b', away), { code: 'store-unavailable' })
  })

  it('takes over the authority of the first node where nobody trusts its own, and else keeps both', async () => {
    trial++
    const first = await link()
    const alone = await openCertificates({
      directory: join(place('b'), 'certificates'), cert: '', key: '', names: () => ['b.local'], log, events: createEvents(),
    }) // biome-ignore format: one node by itself
    closes.push(() => alone.close())
    const a = await certificatesOf('a', first)
    const kept = await certificatesOf('b', first)
    assert.equal(kept.caPem(), alone.caPem())
    const note = join(place('b'), 'certificates/ca.other.crt')
    assert.equal(readFileSync(note, 'utf8'), a.caPem())
    const doctor = () => checkCertificate(complete({ data: place('b') })).find(one => one.about === 'authority')
    assert.equal(doctor()?.state, 'odd')
    assert.match(doctor()?.text ?? '', /but the other nodes go by SHA-256/)
    const replaced = await certificatesOf('b', first, true)
    assert.equal(replaced.caPem(), a.caPem())
    assert.ok(!existsSync(note))
    assert.equal(doctor()?.state, 'good')
    assert.notEqual(replaced.current().cert, a.current().cert)
    assert.equal((await certificatesOf('b', first)).caPem(), a.caPem())
  })

  it('has an authority that is near its end replaced once, and refuses another cluster’s secret', async () => {
    trial++
    const old = await makeAuthority('old', Date.now() - 3300 * 86_400_000)
    await secretsOf(await link()).agree(
      'authority',
      () => true,
      async () => JSON.stringify(old),
    )
    const [c, d] = [await link(), await link()]
    const [a, b] = await Promise.all([certificatesOf('a', c), certificatesOf('b', d)])
    assert.notEqual(a.caPem(), old.cert)
    assert.equal(a.caPem(), b.caPem())
    const stranger = secretsOf(await link(), 'a secret of somebody else')
    await assert.rejects(
      stranger.agree(
        'authority',
        () => true,
        async () => '',
      ),
      { code: 'bad-config' },
    )
  })
})
