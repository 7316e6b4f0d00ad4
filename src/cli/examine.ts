import { X509Certificate } from 'node:crypto'
import { createSocket } from 'node:dgram'
import { promises as dns } from 'node:dns'
import { existsSync, readFileSync, statfsSync, statSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import type { Config } from '../config/schema.ts'
import { Refusal } from '../errors.ts'
import { createEvents } from '../events.ts'
import { createSilentLog } from '../log.ts'
import { loadLibc } from '../media/audio/libc.ts'
import { probeFreeSwitch } from '../media/freeswitch-probe.ts'
import { type Found, findWorker, WrongWorker } from '../media/worker/find.ts'
import { takeLock } from '../media/worker/lock.ts'
import { installLine, mayInstall, missingPackages } from '../media/worker/packages.ts'
import { cacheDirectory, cachedWorker, mediasoupPackage } from '../media/worker/places.ts'
import { allAddresses, chooseAddresses, isVirtual } from '../network/interfaces.ts'
import { readRunFile } from './ask.ts'

/** One thing that `doctor` looked at. `odd` is worth a look, `bad` is broken; `advice` says what to do. */
export interface Finding {
  about: string
  state: 'good' | 'odd' | 'bad'
  text: string
  advice?: string
}

const good = (about: string, text: string): Finding => ({ about, state: 'good', text })
const odd = (about: string, text: string, advice: string): Finding => ({ about, state: 'odd', text, advice })
const bad = (about: string, text: string, advice: string): Finding => ({ about, state: 'bad', text, advice })

export function checkNode(version = process.versions.node): Finding {
  if (Number(version.split('.')[0]) >= 24) return good('Node', version)
  return bad('Node', `${version} is too old`, 'start with `npm start`, which brings its own')
}

export function checkDirectory(config: Config): Finding[] {
  const about = 'data directory'
  if (!existsSync(config.data)) return [odd(about, `${config.data} is not there yet`, 'the first start makes it')]
  const findings: Finding[] = []
  const mode = statSync(config.data).mode & 0o777
  if ((mode & 0o077) !== 0) {
    findings.push(
      bad(about, `${config.data} can be read by others (mode ${mode.toString(8)})`, `chmod 700 ${config.data}`),
    )
  }
  const disk = statfsSync(config.data)
  const free = (disk.bavail * disk.bsize) / 2 ** 20
  if (free < 10)
    findings.push(
      bad('disk', `${free.toFixed(0)} MiB free`, 'make room: new registrations and call records cannot be kept'),
    )
  else if (free < 200) findings.push(odd('disk', `${free.toFixed(0)} MiB free`, 'make room soon'))
  return findings.length > 0 ? findings : [good(about, `${config.data}, ${(free / 1024).toFixed(1)} GiB free`)]
}

/** Certificates and nonces need a right clock; a Raspberry Pi without a network starts in the past. */
export function checkClock(config: Config, now = Date.now()): Finding {
  const written = join(config.data, 'vaartha.sqlite')
  const last = existsSync(written) ? statSync(written).mtimeMs : Date.UTC(2026, 0)
  if (now < last - 60_000) {
    return bad(
      'clock',
      `${new Date(now).toISOString()} is before the last thing that was written`,
      'set the clock, or let systemd-timesyncd or chrony do it',
    )
  }
  return good('clock', new Date(now).toISOString())
}

export function checkInterfaces(config: Config): Finding[] {
  const all = allAddresses()
  const used = chooseAddresses(all, config.network)
  const unknown = config.network.listen.filter(entry => !all.some(a => a.address === entry || a.interface === entry))
  const findings = unknown.map(entry =>
    bad('interfaces', `network.listen names '${entry}', which this machine has not`, 'take it out or connect it'),
  )
  const lan = used.filter(a => !a.internal)
  if (lan.length === 0) {
    const left = [...new Set(all.filter(a => !a.internal && isVirtual(a.interface)).map(a => a.interface))]
    const hint =
      left.length > 0
        ? `only virtual ones are up (${left.join(', ')}); name one in network.include if phones are there`
        : 'connect a network cable or the Wi-Fi'
    findings.push(odd('interfaces', 'no address that other devices could reach', hint))
  }
  return findings.length > 0 ? findings : [good('interfaces', lan.map(a => `${a.interface} ${a.address}`).join(', '))]
}

export async function checkServer(config: Config): Promise<Finding> {
  const run = readRunFile(config)
  if (run === undefined) return odd('server', 'does not run', 'npm start')
  try {
    const answer = await fetch(`${run.api}/health/ready`, { signal: AbortSignal.timeout(3000) })
    const health = (await answer.json()) as { ready: boolean; degraded: boolean; reasons: string[] }
    if (health.ready && health.degraded) return odd('server', `runs, but ${health.reasons.join('; ')}`, 'see its log')
    if (health.ready) return good('server', `runs as process ${run.pid} and is ready`)
    return bad('server', `runs, but is not ready: ${health.reasons.join('; ')}`, 'see its log')
  } catch (error) {
    return bad(
      'server',
      `process ${run.pid} runs, but does not answer at ${run.api}: ${(error as Error).message}`,
      'see its log; restart it',
    )
  }
}

/** While no server of ours runs, each configured port must be free on each address. */
export async function checkPorts(config: Config): Promise<Finding[]> {
  if (readRunFile(config) !== undefined) return []
  const { sip } = config
  const wanted: [name: string, kind: 'udp' | 'tcp', port: number][] = [
    ['SIP', 'udp', sip.udp],
    ['SIP', 'tcp', sip.tcp],
    ['SIP over TLS', 'tcp', sip.tls],
    ['SIP over WebSocket', 'tcp', sip.ws],
    ['SIP over secure WebSocket', 'tcp', sip.wss],
    ['HTTP', 'tcp', Math.max(0, config.http.port)],
    ['HTTPS', 'tcp', Math.max(0, config.http.securePort)],
  ]
  const findings: Finding[] = []
  for (const [name, kind, port] of wanted) {
    if (port === 0) continue
    for (const { address } of chooseAddresses(allAddresses(), config.network)) {
      const code = await (kind === 'udp' ? tryUdp : tryTcp)(address, port)
      if (code === undefined) continue
      const why =
        code === 'EADDRINUSE'
          ? 'is used by another program'
          : code === 'EACCES'
            ? 'may not be opened by this user'
            : `cannot be opened (${code})`
      const tool = kind === 'udp' ? '-lunp' : '-ltnp'
      const advice =
        code === 'EADDRINUSE'
          ? `find it with: ss ${tool} 'sport = :${port}'; stop it, or set another port`
          : 'set a port above 1023'
      findings.push(bad('ports', `${name}: ${kind} port ${port} on ${address} ${why}`, advice))
    }
  }
  return findings.length > 0 ? findings : [good('ports', 'all free')]
}

function tryTcp(address: string, port: number): Promise<string | undefined> {
  return new Promise(done => {
    const server = createServer()
    server.once('error', (error: NodeJS.ErrnoException) => done(error.code ?? error.message))
    server.listen({ host: address, port, exclusive: true }, () => server.close(() => done(undefined)))
  })
}

function tryUdp(address: string, port: number): Promise<string | undefined> {
  return new Promise(done => {
    const socket = createSocket(address.includes(':') ? 'udp6' : 'udp4')
    socket.once('error', (error: NodeJS.ErrnoException) => {
      socket.close()
      done(error.code ?? error.message)
    })
    socket.bind({ address, port, exclusive: true }, () => socket.close(() => done(undefined)))
  })
}

/** The announced name must lead here, as this machine itself resolves it. */
export async function checkName(config: Config): Promise<Finding> {
  const name = `${config.discovery.name}.local`
  if (!config.discovery.enabled)
    return odd(
      'name',
      'discovery.enabled is false',
      `phones need an address or a name of your own DNS in place of ${name}`,
    )
  const own = allAddresses().map(a => a.address)
  try {
    const found = await withTimeout(dns.lookup(name, { all: true }), 4000)
    if (found.some(({ address }) => own.includes(address))) return good('name', `${name} is this machine`)
    return bad(
      'name',
      `${name} is another machine, ${found[0]?.address}`,
      'two servers of one name: the second one calls itself …-2.local; set discovery.name to tell them apart',
    )
  } catch {
    return odd(
      'name',
      `${name} is not found from this machine itself`,
      'other devices may find it all the same; here, libnss-mdns or systemd-resolved would be needed. Phones can always use an IP address',
    )
  }
}

export async function checkStore(config: Config): Promise<Finding> {
  const file = join(config.data, 'vaartha.sqlite')
  if (existsSync(file)) {
    try {
      const database = new DatabaseSync(file, { readOnly: true })
      const [result] = database.prepare('pragma quick_check').all() as { quick_check: string }[]
      database.close()
      if (result?.quick_check !== 'ok')
        return bad('store', `${file}: ${result?.quick_check}`, 'restore it from a backup')
    } catch (error) {
      return bad(
        'store',
        `${file}: ${(error as Error).message}`,
        'restore it from a backup, or check its owner and mode',
      )
    }
  }
  if (config.store.redis === '') return good('store', 'embedded')
  return checkRedis(config.store)
}

/** Logs in as the server does, through Sentinels or to a whole Cluster, and writes. */
async function checkRedis(config: Config['store']): Promise<Finding> {
  const { createRedisLink } = await import('../redis/link.ts')
  try {
    const link = createRedisLink({ config, events: createEvents(), log: createSilentLog() })
    const serves = await link.ready()
    const why = link.why()
    await link.close()
    return serves ? good('store', 'Redis takes what we write') : bad('store', why, 'start it, or check store.redis')
  } catch (error) {
    if (!(error instanceof Refusal)) throw error
    return bad('store', error.message, 'set store.redis anew')
  }
}

/** The certificate must be in date and name every address that phones use. */
export function checkCertificate(config: Config, now = Date.now()): Finding[] {
  const file = config.certificates.cert || join(config.data, 'certificates/server.crt')
  if (!existsSync(file)) {
    if (config.certificates.cert !== '') return [bad('certificate', `${file} is not there`, 'check certificates.cert')]
    return [odd('certificate', 'none yet', 'the first start makes one')]
  }
  const certificate = new X509Certificate(readFileSync(file))
  const days = Math.floor((Date.parse(certificate.validTo) - now) / 86_400_000)
  if (days < 0)
    return [
      bad(
        'certificate',
        `ended ${-days} days ago`,
        config.certificates.cert === '' ? 'restart the server, which makes a new one' : 'renew it',
      ),
    ]
  const missing = chooseAddresses(allAddresses(), config.network)
    .filter(a => !certificate.checkIP(a.address))
    .map(a => a.address)
  if (missing.length > 0 && config.certificates.cert === '') {
    const advice = 'a running server adds new addresses by itself'
    return [odd('certificate', `does not name ${missing.join(', ')}`, advice), ...authorityOf(config)]
  }
  return [good('certificate', `valid for ${days} more days`), ...authorityOf(config)]
}

const origins: Record<Found['how'], string> = {
  given: 'named by MEDIASOUP_WORKER_BIN',
  package: 'brought by mediasoup’s installer',
  cache: 'built here',
}

/** The worker that carries browsers' media: there, being built, or what keeps it from being built. */
export async function checkMedia(config: Config, env = process.env, source = mediasoupPackage()): Promise<Finding> {
  const about = 'media worker'
  const cache = cacheDirectory(env)
  const target = cachedWorker(cache, source.version)
  const without = 'phones call each other without it; browsers need it for talking to phones and for meetings'
  try {
    const found = await findWorker({ env, cache, source })
    if (found !== undefined) {
      const version = found.how === 'given' ? '' : `${source.version}, `
      return good(about, `${version}${origins[found.how]}, runs here: ${found.binary}`)
    }
  } catch (error) {
    if (!(error instanceof WrongWorker)) throw error
    return bad(about, error.message, `name one that runs, or unset it and a worker is built (${without})`)
  }
  if (isTaken(`${target}.lock`)) return odd(about, `is being built just now, to ${target}`, 'wait some minutes')
  const missing = await missingPackages(env)
  if (missing.length > 0 && !mayInstall(env)) {
    return odd(about, `is not there, and building it needs Debian packages (${without})`, installLine(missing))
  }
  const when = config.media.build === 'auto' ? 'a server that starts builds it in the background; or now' : 'build it'
  return odd(about, `is not there; it would be ${target} (${without})`, `${when}: vaartha media build`)
}

/** Whether meetings of phones cost what they could: Node's own sockets do the same work with more of it. */
export async function checkSockets(libc: () => Promise<unknown> = loadLibc): Promise<Finding> {
  const about = 'media sockets'
  if (await libc()) return good(about, 'packets of meetings are read by calls of our own, all at each beat')
  const advice = 'nothing is needed; the optional package koffi saves it on Linux, x64 or arm64, with glibc'
  return odd(about, 'packets are read by Node, one by one: a meeting of phones takes about a fifth more CPU', advice)
}

/** Nothing while meetings are mixed here. */
export async function checkMixer(config: Config): Promise<Finding[]> {
  const { mixer, freeswitch } = config.media
  if (mixer === 'embedded') return []
  const about = 'mixer'
  if (freeswitch.secret === '') {
    const advice = 'put the password of its event socket there, or set media.mixer to embedded'
    return [bad(about, 'media.freeswitch.secret is empty', advice)]
  }
  try {
    await probeFreeSwitch(freeswitch)
    return [good(about, `FreeSWITCH at ${freeswitch.host}:${freeswitch.port} can mix meetings`)]
  } catch (error) {
    const advice =
      'docs/running.md says how it is set up; until then no meeting can begin, or set media.mixer to embedded'
    return [bad(about, (error as Error).message, advice)]
  }
}

function isTaken(lockFile: string): boolean {
  if (!existsSync(lockFile)) return false
  const lock = takeLock(lockFile)
  lock?.release()
  return lock === undefined
}

function withTimeout<T>(promise: Promise<T>, ms: number): Promise<T> {
  return new Promise((done, failed) => {
    const timer = setTimeout(() => failed(new Error(`no answer in ${ms} ms`)), ms)
    promise.then(done, failed).finally(() => clearTimeout(timer))
  })
}

/** What the page `/trust` shows as well, so that people can compare the two. */
function authorityOf(config: Config): Finding[] {
  const file = join(config.data, 'certificates/ca.crt')
  if (config.certificates.cert !== '' || !existsSync(file)) return []
  const printOf = (path: string) => `SHA-256 ${new X509Certificate(readFileSync(path)).fingerprint256}`
  const other = join(config.data, 'certificates/ca.other.crt')
  if (existsSync(other)) {
    return [
      odd(
        'authority',
        `${printOf(file)}, but the other nodes go by ${printOf(other)}`,
        `browsers must trust both; or stop this node, remove ${join(config.data, 'certificates')}, and its next start takes theirs`,
      ),
    ]
  }
  return [good('authority', printOf(file))]
}
