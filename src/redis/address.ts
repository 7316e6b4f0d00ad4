import { readFileSync } from 'node:fs'
import { isIP } from 'node:net'
import type { ConnectionOptions } from 'node:tls'
import { Refusal } from '../errors.ts'

/** How to log in at one server and how to trust it. */
export interface Login {
  username?: string
  password?: string
  db?: number
  tls?: ConnectionOptions
}

export interface Place {
  host: string
  port: number
}

/** Where Redis is: one server, the master that Sentinels name, or a Cluster known by some of its nodes. */
export type RedisAddress =
  | { kind: 'single'; place: Place; login: Login }
  | { kind: 'sentinel'; places: Place[]; master: string; login: Login; sentinel: Login }
  | { kind: 'cluster'; places: Place[]; login: Login }

/**
 * Reads `store.redis`: `redis://`, `rediss://` (TLS), several of them with commas between for a Cluster, or
 * `redis-sentinel://user:password@host,host/master/db` and `rediss-sentinel://`. Of a query it takes the files `ca`,
 * `cert` and `key` (TLS), and `sentinelUser` and `sentinelPassword`. Throws Refusal('bad-config').
 */
export function parseRedisAddress(text: string): RedisAddress {
  const sentinel = /^redis(s?)-sentinel:\/\/([^/?]*)(.*)$/.exec(text.trim())
  if (sentinel !== null) return readSentinel(sentinel[1] === 's', sentinel[2]!, sentinel[3]!)
  const urls = text.split(',').map(part => readUrl(part.trim()))
  const [first] = urls
  const place = ({ hostname, port }: URL) => ({ host: unbracket(hostname), port: Number(port || 6379) })
  const login = loginOf(first!, first!.protocol === 'rediss:')
  if (urls.length === 1) return { kind: 'single', place: place(first!), login: { ...login, db: dbOf(first!.pathname) } }
  // The nodes of a Cluster tell each other's addresses, not how to log in: that is the first URL's for all.
  return { kind: 'cluster', places: urls.map(place), login }
}

/** For logs: the hosts, never what proves us. */
export function describeRedis(address: RedisAddress): string {
  const places = address.kind === 'single' ? [address.place] : address.places
  const hosts = places.map(({ host, port }) => `${host.includes(':') ? `[${host}]` : host}:${port}`).join(', ')
  return address.kind === 'sentinel' ? `${address.master} of the Sentinels ${hosts}` : hosts
}

function readSentinel(secure: boolean, authority: string, rest: string): RedisAddress {
  const at = authority.lastIndexOf('@')
  const hosts = authority.slice(at + 1).split(',')
  const places = hosts.map(host => {
    const url = readUrl(`redis://${host.trim()}`)
    return { host: unbracket(url.hostname), port: Number(url.port || 26379) }
  })
  // The first host stands for all, so that the rest can be read as any URL is.
  const url = readUrl(`redis://${authority.slice(0, at + 1)}${hosts[0]!.trim()}${rest}`)
  const [, master = '', db = ''] = url.pathname.split('/')
  if (master === '') throw refusal('redis-sentinel:// needs the name of the master, as in redis-sentinel://host/main')
  const login = loginOf(url, secure)
  const query = url.searchParams
  const proof: Login = { ...(login.tls && { tls: login.tls }) }
  if (query.has('sentinelUser')) proof.username = query.get('sentinelUser')!
  if (query.has('sentinelPassword')) proof.password = query.get('sentinelPassword')!
  const name = decodeURIComponent(master)
  return { kind: 'sentinel', places, master: name, login: { ...login, db: dbOf(`/${db}`) }, sentinel: proof }
}

function readUrl(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined
  if (url === undefined || !/^rediss?:$/.test(url.protocol) || url.hostname === '') {
    // The text may hold a password.
    throw refusal('it is none of redis://host:6379/0, rediss://…, several of them, redis-sentinel://host/master')
  }
  return url
}

function loginOf(url: URL, secure: boolean): Login {
  const login: Login = {}
  if (url.username !== '') login.username = decodeURIComponent(url.username)
  if (url.password !== '') login.password = decodeURIComponent(url.password)
  if (secure) login.tls = tlsOf(url)
  return login
}

function tlsOf({ hostname, searchParams }: URL): ConnectionOptions {
  const tls: ConnectionOptions = {}
  const host = unbracket(hostname)
  // A name is checked against the certificate as it was written; an address cannot be asked for (RFC 6066 section 3).
  if (isIP(host) === 0) tls.servername = host
  for (const name of ['ca', 'cert', 'key'] as const) {
    const file = searchParams.get(name)
    if (file !== null) tls[name] = read(file)
  }
  return tls
}

function read(file: string): Buffer {
  try {
    return readFileSync(file)
  } catch (cause) {
    throw refusal(`cannot read ${file}`, cause)
  }
}

function dbOf(pathname: string): number {
  const db = Number(pathname.slice(1))
  if (!Number.isInteger(db) || db < 0) throw refusal('the database is a number, as in redis://host/0')
  return db
}

function unbracket(host: string): string {
  return host.startsWith('[') ? host.slice(1, -1) : host
}

function refusal(why: string, cause?: unknown): Refusal {
  return new Refusal('bad-config', `store.redis: ${why}`, { cause })
}
