import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, afterEach, before, beforeEach, describe, it } from 'node:test'
import { Redis } from 'ioredis'
import { sql } from 'kysely'
import { contentsOf, type DirectoryNode, startDirectoryNode, until } from '../support/directory.ts'
import { type RedisServer, startRedis, startRedisCluster } from '../support/redis.ts'

const domain = 'home.test'
const password = 'a long password'
const hourUs = 3_600_000_000

describe('the directory of a cluster', () => {
  const folder = mkdtempSync(join(tmpdir(), 'vaartha-directory-'))
  let redis: RedisServer
  let raw: Redis
  let trial = 0
  let opened: DirectoryNode[] = []
  const servers: RedisServer[] = []

  before(async () => {
    redis = await startRedis()
    raw = new Redis(redis.url)
  })
  after(async () => {
    raw.disconnect()
    await redis.stop()
    rmSync(folder, { recursive: true, force: true })
  })
  beforeEach(() => mkdirSync(join(folder, `${++trial}`)))
  afterEach(async () => {
    for (const node of opened.splice(0)) await node.close()
    for (const server of servers.splice(0)) await server.stop()
  })
  /** A Redis that this test may stop. */
  async function startOwn(port?: number): Promise<RedisServer> {
    const own = await startRedis(port)
    servers.push(own)
    return own
  }

  type Options = Parameters<typeof startDirectoryNode>[0]
  async function start(node: string, options: Partial<Options> = {}): Promise<DirectoryNode> {
    const place = { redis: redis.url, node, folder: join(folder, `${trial}`), prefix: `t${trial}` }
    const made = await startDirectoryNode({ ...place, ...options })
    opened.push(made)
    await made.link.ready()
    await made.directory.start()
    return made
  }
  async function stop(node: DirectoryNode): Promise<void> {
    opened = opened.filter(one => one !== node)
    await node.close()
  }
  /** Waits until all have the same, have told all of it, and can say so of Redis. */
  async function alike(...nodes: DirectoryNode[]): Promise<void> {
    await until(async () => {
      if (nodes.some(({ directory }) => directory.figures().waiting > 0)) return false
      const all = await Promise.all(nodes.map(contentsOf))
      return new Set(all).size === 1
    })
    for (const { directory } of nodes) assert.equal(directory.figures().failed, 0)
  }
  const add = ({ accounts }: DirectoryNode, user: string) => accounts.add({ user, domain, password })
  const nameOf = async ({ accounts }: DirectoryNode, user: string) => (await accounts.get(user, domain))?.displayName

  it('carries every change both ways, and who looks people up sees it', async () => {
    const [a, b] = [await start('a'), await start('b')]
    await add(a, 'mum')
    await add(b, 'dad')
    await alike(a, b)
    assert.equal((await b.accounts.find('mum', domain))?.user, 'mum')
    await a.groups.add({ name: 'family', domain, members: ['mum', 'dad'], moderators: ['dad'], pin: '4711' })
    await alike(a, b)
    assert.ok(await b.groups.has('family', domain))
    assert.ok(await b.groups.checkPin('family', domain, '4711'))
    await b.groups.change('family', domain, { members: ['dad', 'mum'], displayName: 'Family' })
    await b.accounts.setPassword('mum', domain, 'another password')
    await b.accounts.setEnabled('dad', domain, false)
    await alike(a, b)
    assert.deepEqual((await a.groups.get('family', domain))?.members, ['dad', 'mum'])
    assert.equal((await a.accounts.find('dad', domain))?.enabled, false)
    const { token } = await a.invitations.make('mum', domain)
    await alike(a, b)
    assert.deepEqual(await b.invitations.redeem(token), { user: 'mum', domain })
    await alike(a, b)
    assert.equal(await a.invitations.redeem(token), undefined)
    await a.accounts.remove('mum', domain)
    await alike(a, b)
    assert.equal(await b.accounts.find('mum', domain), undefined)
    assert.deepEqual((await b.groups.get('family', domain))?.members, ['dad'])
    await b.groups.remove('family', domain)
    await add(b, 'family')
    await alike(a, b)
    assert.equal(a.directory.figures().conflicts + b.directory.figures().conflicts, 0)
  })

  it('does so in a Redis Cluster too', async () => {
    const masters = await startRedisCluster()
    try {
      const [a, b] = [await start('a', { redis: masters.url }), await start('b', { redis: masters.url })]
      await add(a, 'mum')
      const { token } = await a.invitations.make('mum', domain)
      await b.groups.add({ name: 'family', domain })
      await alike(a, b)
      assert.deepEqual(await b.invitations.redeem(token), { user: 'mum', domain })
      await alike(a, b)
      for (const node of opened.splice(0)) await node.close()
    } finally {
      await masters.stop()
    }
  })

  it('carries call records and the list of recordings, and has files removed where they are', async () => {
    const removed: { files: string }[] = []
    const a = await start('a', { more: { onRecordingRemoved: one => removed.push(one) } })
    const b = await start('b')
    const call = {
      from: 'sip:mum@x',
      to: 'sip:dad@x',
      seconds: 1.5,
      result: 'answered',
      status: 200,
      reason: 'OK',
    } as const
    for (const [node, id] of [
      [a, '1'],
      [b, '2'],
    ] as const) {
      const time = new Date().toISOString()
      node.records.add({ ...call, id, started: time, ended: time, legs: [{ aor: 'sip:dad@x' }] })
    }
    const recording = {
      id: 'r',
      meeting: 'm',
      address: 's',
      started: '',
      ended: '',
      seconds: 1,
      people: '[]',
      node: '',
    }
    await a.database.query
      .insertInto('recordings')
      .values({ ...recording, files: '["r.ogg"]' })
      .execute()
    await until(async () => (await b.records.list()).length === 2 && (await a.records.list()).length === 2)
    await alike(a, b)
    assert.equal((await a.records.list({ user: 'sip:mum@x' }))[0]?.seconds, 1.5)
    const there = await b.database.query.selectFrom('recordings').selectAll().execute()
    assert.deepEqual(
      there.map(row => ({ ...row })),
      [{ ...recording, files: '["r.ogg"]', node: 'a' }],
    )
    await b.database.query.deleteFrom('recordings').execute()
    await alike(a, b)
    assert.equal(removed[0]?.files, '["r.ogg"]')
  })

  it('merges nodes that had people before: of one user the newer account holds', async () => {
    const a = await start('a', {
      before: async accounts => accounts.add({ user: 'mum', domain, password, displayName: 'old' }),
    })
    const b = await start('b', {
      before: async accounts => {
        await accounts.add({ user: 'dad', domain, password })
        await accounts.add({ user: 'mum', domain, password, displayName: 'young' })
      },
    })
    await alike(a, b)
    assert.equal(await nameOf(a, 'mum'), 'young')
    assert.equal((await a.accounts.list()).length, 2)
    assert.equal(a.directory.figures().conflicts + b.directory.figures().conflicts, 1)
  })

  it('goes on without Redis and catches up with it, whether it kept its data or not', async () => {
    const own = await startOwn()
    const [a, b] = [await start('a', { redis: own.url }), await start('b', { redis: own.url })]
    await add(a, 'mum')
    await alike(a, b)
    process.kill(own.pid, 'SIGSTOP')
    await assert.rejects(a.directory.claim('x', Date.now() + 1000), { code: 'store-unavailable' })
    await add(a, 'kid')
    await b.accounts.setDisplayName('mum', domain, 'Mum')
    assert.ok(a.directory.figures().waiting > 0)
    process.kill(own.pid, 'SIGCONT')
    await alike(a, b)
    await own.stop()
    await add(b, 'aunt')
    await a.accounts.remove('kid', domain)
    await startOwn(own.port)
    await alike(a, b)
    assert.deepEqual(
      (await a.accounts.list()).map(one => one.user),
      ['aunt', 'mum'],
    )
    const c = await start('c', { redis: own.url })
    await alike(a, b, c)
  })

  it('takes a node back that was off, with what was changed at it without a server', async () => {
    const [a, b] = [await start('a'), await start('b')]
    for (const user of ['mum', 'dad', 'kid']) await add(a, user)
    await a.groups.add({ name: 'family', domain, members: ['mum', 'dad', 'kid'] })
    await alike(a, b)
    await stop(b)
    await a.accounts.remove('dad', domain)
    await add(a, 'aunt')
    // As `vaartha user` does on the machine of the node that is off.
    const off = await startDirectoryNode({
      redis: redis.url,
      node: 'b',
      folder: join(folder, `${trial}`),
      prefix: 'none',
    })
    await off.accounts.setDisplayName('kid', domain, 'Kid')
    await off.close()
    const back = await start('b')
    await alike(a, back)
    assert.deepEqual(
      (await back.accounts.list()).map(one => one.user),
      ['aunt', 'kid', 'mum'],
    )
    assert.equal(await nameOf(a, 'kid'), 'Kid')
    assert.deepEqual((await back.groups.get('family', domain))?.members, ['mum', 'kid'])
  })

  it('lets the last change hold although the clock of the node before was an hour ahead', async () => {
    const [a, b] = [await start('a'), await start('b')]
    await add(a, 'mum')
    await alike(a, b)
    await sql`update sharing set stamp = stamp + ${hourUs}`.execute(a.database.query)
    await a.accounts.setDisplayName('mum', domain, 'of the fast clock')
    await alike(a, b)
    await b.accounts.setDisplayName('mum', domain, 'later')
    await alike(a, b)
    assert.equal(await nameOf(a, 'mum'), 'later')
  })

  it('of two changes made apart keeps the later one, and of an account and a group of one name too', async () => {
    const own = await startOwn()
    const [a, b] = [await start('a', { redis: own.url }), await start('b', { redis: own.url })]
    await add(a, 'mum')
    await alike(a, b)
    process.kill(own.pid, 'SIGSTOP')
    await a.accounts.setDisplayName('mum', domain, 'first')
    await b.accounts.setDisplayName('mum', domain, 'second')
    await add(a, 'club')
    await b.groups.add({ name: 'club', domain, members: ['mum'] })
    process.kill(own.pid, 'SIGCONT')
    await alike(a, b)
    assert.equal(await nameOf(a, 'mum'), 'second')
    assert.equal(await a.accounts.find('club', domain), undefined)
    assert.deepEqual((await a.groups.get('club', domain))?.members, ['mum'])
    assert.ok(a.directory.figures().conflicts + b.directory.figures().conflicts >= 2)
  })

  it('ends alike on three nodes after anything that people do at them, with and without Redis', async () => {
    const own = await startOwn()
    const nodes = [await start('a', { redis: own.url }), await start('b', { redis: own.url })]
    nodes.push(await start('c', { redis: own.url }))
    let state = 42
    const pick = <T>(all: readonly T[]): T => {
      state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
      return all[Math.floor((state / 2 ** 32) * all.length)]!
    }
    const names = ['ann', 'bob', 'cy', 'club', 'team']
    const acts: ((node: DirectoryNode) => Promise<unknown>)[] = [
      node => add(node, pick(names)),
      node => node.accounts.remove(pick(names), domain),
      node => node.accounts.setDisplayName(pick(names), domain, `${state}`),
      node => node.groups.add({ name: pick(names), domain, members: [pick(names), pick(names)] }),
      node =>
        node.groups.change(pick(names), domain, { members: [pick(names), pick(names)], ring: pick(['all', 'order']) }),
      node => node.groups.remove(pick(names), domain),
      node => node.invitations.make(pick(names), domain),
    ]
    for (let round = 0; round < 6; round++) {
      const cut = round % 2 === 1
      if (cut) process.kill(own.pid, 'SIGSTOP')
      for (let n = 0; n < 40; n++) {
        // Many of these cannot be done, as on a real day.
        await pick(acts)(pick(nodes)).catch((error: Error) => assert.match(error.name, /Refusal|Error/))
      }
      if (cut) process.kill(own.pid, 'SIGCONT')
      await alike(...nodes)
    }
    const fresh = await start('d', { redis: own.url })
    await alike(...nodes, fresh)
  })

  it('lets one browser in with an invitation that is used at both nodes at once', async () => {
    const [a, b] = [await start('a'), await start('b')]
    await add(a, 'mum')
    for (let n = 0; n < 20; n++) {
      const { token } = await a.invitations.make('mum', domain)
      await alike(a, b)
      const came = await Promise.all([a, b, a, b].map(node => node.invitations.redeem(token)))
      assert.equal(came.filter(who => who !== undefined).length, 1)
    }
    await alike(a, b)
  })

  it('forgets what went 90 days ago, and brings nothing back from a node that was off for longer', async () => {
    let now = Date.now()
    const more = { now: () => now }
    const [a, b] = [await start('a', { more }), await start('b', { more })]
    await add(a, 'mum')
    await add(a, 'dad')
    await alike(a, b)
    await stop(b)
    await a.accounts.remove('dad', domain)
    await until(() => a.directory.figures().waiting === 0)
    now += 91 * 86_400_000
    await stop(a)
    const again = await start('a', { more })
    assert.equal(await raw.hlen(`t${trial}:{directory}:account:versions`), 1)
    const back = await start('b', { more })
    await alike(again, back)
    assert.deepEqual(
      (await back.accounts.list()).map(one => one.user),
      ['mum'],
    )
  })

  it('shows nothing of a password to who reads Redis, and takes nothing that was not sealed', async () => {
    const a = await start('a')
    await add(a, 'mum')
    await until(() => a.directory.figures().waiting === 0)
    const keys = [`t${trial}:{directory}:account:versions`, `t${trial}:{directory}:account:rows`] as const
    const row = (await raw.hget(keys[1], `mum@${domain}`)) ?? ''
    const { ha1 } = (await a.accounts.find('mum', domain))!
    assert.ok(!row.includes(ha1.MD5) && !row.includes(ha1['SHA-256']))
    const forged = `${Date.now() * 2000}:0:a`
    await raw.hset(keys[0], `mum@${domain}`, forged)
    await raw.hset(keys[1], `mum@${domain}`, row.replace(/^\S+/, forged))
    const b = await start('b')
    assert.equal((await b.accounts.list()).length, 0)
    assert.equal(b.directory.figures().failed, 1)
  })
})
