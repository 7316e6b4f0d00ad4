import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createSqlAccounts } from '../../src/accounts/accounts-sql.ts'
import { createInvitations } from '../../src/accounts/invitations.ts'
import { createAuth } from '../../src/auth/auth.ts'
import { issueServer, makeAuthority } from '../../src/certificates/authority.ts'
import { openDatabase } from '../../src/database/database.ts'
import { noDrills } from '../../src/drill/drills.ts'
import { createEvents, type Events } from '../../src/events.ts'
import { createSqlGroups } from '../../src/groups/groups-sql.ts'
import { type Http, type HttpDeps, startHttp } from '../../src/http/http.ts'
import { createSilentLog } from '../../src/log.ts'
import type { LocalAddress } from '../../src/network/interfaces.ts'
import { someBinding } from './bindings.ts'
import { freePorts } from './server.ts'

export const token = 'a'.repeat(64)

const loopback: LocalAddress = {
  interface: 'lo', address: '127.0.0.1', family: 4, netmask: '255.0.0.0', prefix: 8, internal: true, scope: 0,
} // biome-ignore format: one address

export interface TestHttp {
  http: Http
  events: Events
  /** `http://127.0.0.1:<port>` */
  base: string
  secureBase: string
  get(path: string, headers?: Record<string, string>): Promise<Response>
  /** A request of the administrator. */
  ask(method: string, path: string, body?: unknown): Promise<Response>
  close(): Promise<void>
}

/** The HTTP front on free loopback ports, with one binding, one call and accounts in memory. */
export async function startTestHttp(other: Partial<HttpDeps> = {}): Promise<TestHttp> {
  const data = mkdtempSync(join(tmpdir(), 'vaartha-http-'))
  const log = createSilentLog()
  const database = await openDatabase(':memory:', log)
  const events = createEvents()
  const [port, securePort] = (await freePorts(2)) as [number, number]
  const now = Date.now()
  const pair = await issueServer(await makeAuthority('test', now), ['127.0.0.1'], now)
  const bindings = [someBinding()]
  const calls = [{ id: 'call-1', from: 'sip:ann@x', to: 'sip:bob@x', state: 'ringing', since: '2026-01-01T00:00:00Z', recording: false, legs: [] }] // biome-ignore format: one call
  const accounts = createSqlAccounts({ database, events })
  const auth = createAuth({
    config: { md5: true, md5Agents: [], nonceSeconds: 60, failures: 100, failureSeconds: 60, banSeconds: 60 },
    domains: ['example.org'],
    find: (user, domain) => accounts.find(user, domain),
    secret: Buffer.from('secret'),
    events,
  })
  const http = await startHttp({
    config: { enabled: true, port, securePort, metrics: 'loopback' },
    addresses: { current: () => [loopback], onChange: () => () => {}, close() {} },
    allowed: () => true,
    certificates: { current: () => pair, onChange: () => () => {}, caPem: () => 'PEM' },
    adminToken: token,
    sessionsFile: join(data, 'sessions.json'),
    domain: 'example.org',
    accounts,
    invitations: createInvitations({ database }),
    auth,
    web: { folder: data, state: () => 'preparing', close: async () => {} },
    registrations: {
      list: () => ({ bindings, cursor: undefined }),
      count: () => bindings.length,
      remove: async aor => (aor === bindings[0]?.aor ? bindings.splice(0).length : 0),
    },
    calls: {
      list: () => calls as ReturnType<HttpDeps['calls']['list']>,
      hangUp: id => id === 'call-1',
      record: async () => {},
      mayRecord: async user => user === 'mum',
    },
    records: { list: async () => [] },
    groups: createSqlGroups({ database }),
    meetings: { list: () => [], isOn: async () => false, act: async () => {} },
    drills: noDrills,
    messages: () => ({ kept: 0, people: 0, sending: 0 }),
    mediaLoad: () => ({
      workers: [{ pid: 1, legs: 2, cpuSeconds: 3 }],
      ports: 4,
      rooms: 5,
      audioCpuSeconds: 6,
      packets: { in: 7, out: 8, dropped: 9 },
    }),
    recordings: { list: async () => [], get: async () => undefined, path: file => file, remove: async () => {} },
    health: () => ({
      ready: true,
      degraded: false,
      reasons: [],
      parts: { TLS: { on: true, why: 'a <reason>' } },
      media: { sfu: 'ready', why: 'built', mixer: { on: false, why: 'away' } },
    }),
    info: async () => ({
      name: 'v.local',
      domain: 'example.org',
      version: '1',
      points: ['udp 192.0.2.1:5060'],
      accounts: 0,
    }),
    began: now,
    engineStats: () => undefined,
    events,
    log,
    ...other,
  })
  const base = `http://127.0.0.1:${port}`
  return {
    http,
    events,
    base,
    secureBase: `https://127.0.0.1:${securePort}`,
    get: (path, headers = {}) => fetch(base + path, { headers, redirect: 'manual' }),
    ask: (method, path, body) =>
      fetch(base + path, {
        method,
        headers: {
          authorization: `Bearer ${token}`,
          ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      }),
    async close() {
      await http.close()
      await database.close()
      rmSync(data, { recursive: true, force: true })
    },
  }
}
