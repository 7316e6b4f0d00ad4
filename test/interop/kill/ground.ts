import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { type Baresip, type BaresipOptions, startBaresip } from '../../support/baresip.ts'
import { openBrowser, type TestBrowser } from '../../support/browser.ts'
import { type Lab, theLab } from '../../support/lab.ts'
import { type NatsServer, startNats } from '../../support/nats.ts'
import { type Pair, startPair, until } from '../../support/pair.ts'
import { createPhone } from '../../support/phone.ts'
import { type RedisServer, startRedis } from '../../support/redis.ts'
import type { TestServer } from '../../support/server.ts'
import { createUdpPeer } from '../../support/sip-peer.ts'
import { type MediaNodes, makeMediaNodes } from './media-nodes.ts'

// What all rows of the matrix stand on: a pair in the lab, its Redis and NATS, and phones with accounts. There is one with
// nodes for media alone, on which the pair itself carries none.

export interface Ground {
  readonly lab: Lab
  readonly pair: Pair
  readonly redis: RedisServer
  readonly nats: NatsServer
  /** Where the pair carries no media. */
  readonly media: MediaNodes | undefined
  /** Fills the file system of 16 MB that node `a` has its data on. */
  fill(): Promise<void>
  free(): Promise<void>
  /** Lets the clock of node `a` be off by so many seconds; it has to be started with `fakeClock(true)`. */
  leap(seconds: number): void
  /** Whether programs of node `a` that are started from now on have a clock that can leap. */
  fakeClock(on: boolean): void
  password(user: string): string
  /** A phone that is registered at both nodes. */
  phone(user: string, more?: Partial<BaresipOptions>): Promise<Baresip>
  /** Closes all phones that were opened. */
  closePhones(): Promise<void>
  browser(): Promise<TestBrowser>
  /** Starts Redis again, which is empty then. */
  restartRedis(): Promise<void>
  restartNats(): Promise<void>
  /**
   * Two phones without a past register at `b`, one calls the other, and both hang up. With `patient`, they are
   * baresips, which send again what gets lost.
   */
  newCall(patient?: boolean): Promise<void>
  /** Resolves when each node of the pair sees the other one up. */
  settled(): Promise<void>
  /** Bindings of these people that a node knows. */
  bindings(node: TestServer, users: readonly string[]): Promise<number>
  close(): Promise<void>
}

interface Named {
  id: string
}

const asked = new WeakMap<TestServer, Map<string, { at: number; answer: Promise<string[]> }>>()

/** Ids in a list of the API, asked ten times a second at most: several rows wait for the same, and the API has a limit. */
function idsAt(node: TestServer, path: string): Promise<string[]> {
  const known = asked.get(node) ?? new Map()
  asked.set(node, known)
  const last = known.get(path)
  if (last !== undefined && performance.now() - last.at < 100) return last.answer
  const answer = node.api<Named[]>(path).then(all => all.map(({ id }) => id))
  known.set(path, { at: performance.now(), answer })
  return answer
}

export interface SeenNode {
  node: string
  state: string
  roles: string[]
  load: Record<string, number | undefined>
}

export const nodesAt = (node: TestServer) => node.api<SeenNode[]>('/api/nodes')
export const callsAt = (node: TestServer) => idsAt(node, '/api/calls')
export const meetingsAt = (node: TestServer) => idsAt(node, '/api/meetings')
export const historyAt = (node: TestServer) => idsAt(node, '/api/history?limit=1000')

/** Where Debian puts the library that makes a program believe another time of day; no monotonic clock with it. */
const faketime = `/usr/lib/${{ x64: 'x86_64', arm64: 'aarch64' }[process.arch as string]}-linux-gnu/faketime/libfaketime.so.1`

export interface Group {
  readonly name: string
  readonly members: readonly string[]
  /** Rings nobody. */
  readonly quiet: boolean
}

export interface GroundOptions {
  users: readonly string[]
  groups: readonly Group[]
  /** With nodes for media alone. */
  media: boolean
}

export async function makeGround(options: GroundOptions): Promise<Ground> {
  const opened: (() => Promise<unknown>)[] = []
  const close = async () => {
    for (const one of opened.splice(0).reverse()) await one()
  }
  try {
    return await layGround(options, opened, close)
  } catch (error) {
    await close()
    throw error
  }
}

/** What it has made is added to `opened`. */
async function layGround(
  { users, groups, media }: GroundOptions,
  opened: (() => Promise<unknown>)[],
  close: () => Promise<void>,
): Promise<Ground> {
  const lab = await theLab()
  const { hosts } = lab
  const folder = mkdtempSync(join(tmpdir(), 'vaartha-kill-'))
  const [disk, clock] = [join(folder, 'disk'), join(folder, 'clock')]
  mkdirSync(disk)
  await hosts.phones.must('mount', '-t', 'tmpfs', '-o', 'size=16m', 'tmpfs', disk)
  opened.push(async () => {
    await hosts.phones.must('umount', disk)
    rmSync(folder, { recursive: true, force: true })
  })
  let faked: string[] = []
  let redis = await startRedis(undefined, [], undefined, hosts.redis)
  opened.push(() => redis.stop())
  let nats = await startNats(undefined, undefined, hosts.nats)
  opened.push(() => nats.stop())
  const pair = await startPair({
    places: {
      ...hosts,
      a: { ...hosts.a, enter: (command, args) => hosts.a.enter('env', [...faked, command, ...args]) },
    },
    redis: { ...redis, stop: () => redis.stop() },
    settings: { VAARTHA_CLUSTER_NATS: nats.url, ...(media && { VAARTHA_CLUSTER_ROLES: 'sip' }) },
    own: { a: { VAARTHA_DATA: disk } },
  })
  opened.push(pair.close)
  const passwords = new Map<string, string>()
  for (const user of ['alice', 'bob', ...users]) {
    const password = randomBytes(12).toString('hex')
    await pair.a.api('/api/accounts', 'POST', { user, password })
    passwords.set(user, password)
  }
  const [last] = [...passwords.keys()].slice(-1)
  await until(async () => JSON.stringify(await pair.b.api('/api/accounts')).includes(`"${last}"`), 10_000)
  for (const { name, members, quiet } of groups) {
    const more = ['--no-announce', ...(quiet ? ['--ring', 'nobody'] : [])]
    const { code, stderr } = await pair.a.cli('group', 'add', name, '--members', members.join(), ...more)
    assert.equal(code, 0, stderr)
  }
  await until(async () => (await pair.b.api<unknown[]>('/api/groups')).length === groups.length, 10_000)
  const mediaNodes = media ? await makeMediaNodes(pair, hosts, nats) : undefined
  if (mediaNodes) opened.push(mediaNodes.close)
  let browser: Promise<TestBrowser> | undefined
  const phones = new Set<Baresip>()
  async function phone(user: string, more: Partial<BaresipOptions> = {}): Promise<Baresip> {
    const one = await startBaresip({
      user,
      password: password(user),
      domain: pair.a.domain,
      address: hosts.phones.address,
      server: `${hosts.a.address}:${pair.a.ports.sip}`,
      account: `;sipnat=outbound;outbound2="sip:${hosts.b.address}:${pair.b.ports.sip}"`,
      ...more,
    })
    phones.add(one)
    // It is ready when one node has its registration, and calls of phones that only `b` has are not those of `a`.
    const registered = () => one.log().split(/\{\d\/UDP\/v4\} 200 OK/).length - 1
    if (more.account === undefined) await until(() => registered() >= 2, 10_000)
    return one
  }
  async function closePhones(): Promise<void> {
    await Promise.all([...phones].map(phone => phone.close()))
    phones.clear()
  }
  const password = (user: string) => passwords.get(user)!

  return {
    lab,
    pair,
    media: mediaNodes,
    fill: () => hosts.phones.must('sh', '-c', `cat /dev/zero > ${disk}/full 2> ${folder}/why || true`),
    free: () => hosts.phones.must('rm', `${disk}/full`),
    leap: seconds => writeFileSync(clock, `${seconds < 0 ? '' : '+'}${seconds}`),
    fakeClock(on) {
      writeFileSync(clock, '+0')
      const settings = [
        'FAKETIME_DONT_FAKE_MONOTONIC=1',
        'FAKETIME_CACHE_DURATION=1',
        `FAKETIME_TIMESTAMP_FILE=${clock}`,
      ]
      faked = on ? [`LD_PRELOAD=${faketime}`, ...settings] : []
    },
    get redis() {
      return redis
    },
    get nats() {
      return nats
    },
    password,
    phone,
    closePhones,
    browser: () => (browser ??= openBrowser()),
    async restartRedis() {
      await redis.stop()
      redis = await startRedis(redis.port, [], undefined, hosts.redis)
    },
    async restartNats() {
      await nats.stop()
      nats = await startNats(nats.port, undefined, hosts.nats)
    },
    async newCall(patient) {
      const { domain, ports } = pair.b
      if (patient) {
        const more = { server: `${hosts.b.address}:${ports.sip}`, account: '' }
        const [alice, bob] = await Promise.all([phone('alice', more), phone('bob', { ...more, answer: 'auto' })])
        await alice.command('dial', `sip:bob@${domain}`)
        await alice.event('CALL_ESTABLISHED', 30_000)
        await alice.command('hangup')
        await bob.event('CALL_CLOSED', 30_000)
        return
      }
      const way = { own: hosts.phones.address, server: hosts.b.address }
      const make = async (user: string) =>
        createPhone({ peer: await createUdpPeer(ports.sip, undefined, way), user, domain, password: password(user) })
      const [alice, bob] = [await make('alice'), await make('bob')]
      try {
        for (const phone of [alice, bob]) assert.equal((await phone.register(600, 10_000)).status, 200)
        const [answer] = await Promise.all([alice.call('bob'), bob.answer()])
        assert.equal(answer.status, 200)
        await Promise.all([alice.hangUp(), bob.takeBye()])
        for (const phone of [alice, bob]) await phone.register(0, 10_000)
      } finally {
        for (const { peer } of [alice, bob]) peer.close()
      }
    },
    async settled() {
      const up = async (node: TestServer) =>
        (await nodesAt(node)).filter(one => one.state === 'up' && one.roles.includes('sip')).length
      // Asked four times a second at most, since the API has a limit.
      await until(
        async () => ((await up(pair.a)) === 2 && (await up(pair.b)) === 2) || (await wait(250, false)),
        30_000,
      )
    },
    async bindings(node, some) {
      const page = JSON.stringify(await node.api('/api/registrations?limit=1000'))
      return page.match(new RegExp(`"contact":"sip:(?:${some.join('|')})[-@]`, 'g'))?.length ?? 0
    },
    async close() {
      await closePhones()
      await (await browser)?.close()
      await close()
    },
  }
}
