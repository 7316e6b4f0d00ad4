import { randomBytes } from 'node:crypto'
import { hostname } from 'node:os'
import { createSqlAccounts } from './accounts/accounts-sql.ts'
import { createInvitations } from './accounts/invitations.ts'
import { createAuth } from './auth/auth.ts'
import { createCalls } from './calls/calls.ts'
import { openCertificates } from './certificates/certificates.ts'
import { openDataDirectory } from './config/data-directory.ts'
import { projectVersion } from './config/load.ts'
import type { Config } from './config/schema.ts'
import { openDatabase } from './database/database.ts'
import type { Discovery } from './discovery/discovery.ts'
import { createEvents, type Events } from './events.ts'
import { createGroups, type Groups } from './groups/groups.ts'
import { createSqlGroups } from './groups/groups-sql.ts'
import { createRecordings } from './groups/recorder.ts'
import { type Http, startHttp } from './http/http.ts'
import { parts } from './http/parts.ts'
import { writeRunFile } from './http/run-file.ts'
import { openWebPhone } from './http/web-build.ts'
import { createJournal } from './location/journal.ts'
import { createMemoryStore } from './location/memory.ts'
import type { LocationStore } from './location/store.ts'
import { createWatchdog } from './location/watchdog.ts'
import type { Logger } from './log.ts'
import { createMedia } from './media/create.ts'
import { createArrival } from './media/worker/arrival.ts'
import { cacheDirectory } from './media/worker/places.ts'
import { createAllowed } from './network/allowed.ts'
import { watchAddresses } from './network/interfaces.ts'
import { createIsOwn } from './network/own.ts'
import { createRecords } from './records/records.ts'
import type { RedisLink } from './redis/redis.ts'
import { watchDepartures } from './registrar/departures.ts'
import { createRegistrar } from './registrar/registrar.ts'
import { installRoutes } from './routes.ts'
import { formatHost, sameUriText } from './sip/engine/message/uri.ts'
import { connectSip } from './sip/link.ts'
import { createResolve } from './sip/resolve.ts'

/** Where the server is reached and what it is doing. */
export interface ServerInfo {
  name: string
  domain: string
  version: string
  /** `udp 192.0.2.1:5060`, `https 192.0.2.1:443` … */
  points: string[]
  parts: Record<string, { on: boolean; why: string }>
  accounts: number
}

export interface Server {
  info(): Promise<ServerInfo>
  events: Events
  /** A fresh link that signs a browser in as administrator, once; undefined while HTTP is off. */
  oneTimeLink(): string | undefined
  close(): Promise<void>
}

/**
 * Builds every room bottom-up and closes them top-down. The only place that knows all rooms and that decides between
 * the embedded ones and Redis or drachtio-server. When a step fails, what was opened before is closed. What may be off
 * is imported only when it is on, for the memory of small machines.
 */
export async function startServer(config: Config, log: Logger): Promise<Server> {
  const opened: { name: string; close: () => unknown }[] = []
  const own = <T extends { close(): unknown }>(name: string, room: T): T => {
    opened.push({ name, close: () => room.close() })
    return room
  }
  let closing: Promise<void> | undefined
  const close = () => {
    closing ??= closeAll(opened, log)
    return closing
  }
  try {
    return { ...(await build(config, log, own)), close }
  } catch (error) {
    await close()
    throw error
  }
}

/** Last opened, first closed; what fails to close is logged and the rest is closed all the same. */
async function closeAll(opened: { name: string; close: () => unknown }[], log: Logger): Promise<void> {
  for (const { name, close } of opened.toReversed()) {
    try {
      await close()
    } catch (error) {
      log.error({ err: error, room: name }, 'failed to close')
    }
  }
}

type Own = <T extends { close(): unknown }>(name: string, room: T) => T

async function build(config: Config, log: Logger, own: Own): Promise<Omit<Server, 'close'>> {
  const began = Date.now()
  const { domain } = config
  const data = openDataDirectory(config.data)
  const events = createEvents()
  const node = data.secret('node.id', 4).toString('hex')
  const adminToken = data.secret('admin.token', 32).toString('hex')
  const addresses = own('addresses', watchAddresses(config.network))
  addresses.onChange(now => events.emit('addressesChanged', { addresses: now.map(a => a.address) }))
  const allowed = createAllowed(config.network.allow)

  const database = own('database', await openDatabase(data.path('vaartha.sqlite'), log.child({ room: 'database' })))
  const accounts = createSqlAccounts({ database, events })
  const records = own('records', createRecords({ database, events, historyDays: config.calls.historyDays }))
  await records.prune(config.calls.historyDays)

  // Bindings name the life of the process that holds their flow, not the machine: no flow survives a restart.
  const life = `${node}-${randomBytes(4).toString('hex')}`
  const redis = config.store.redis === '' ? undefined : own('redis', await openRedis(config, events, log))
  const journal = data.path('registrations.journal')
  const store = await openLocation(config, { redis, life, journal, events, log: log.child({ room: 'location' }) })
  const location = own(
    'location',
    createWatchdog({ store, node: life, events, log: log.child({ room: 'location' }), now: Date.now }),
  )
  location.start()

  let discovery: Discovery | undefined
  const machine = hostname().toLowerCase()
  const names = () => [
    ...new Set([domain, discovery?.name() ?? `${config.discovery.name}.local`, machine, 'localhost']),
  ]
  const certificates = own(
    'certificates',
    await openCertificates({
      directory: data.path('certificates'),
      cert: config.certificates.cert,
      key: config.certificates.key,
      names: () => [...names(), ...config.certificates.names, ...addresses.current().map(a => a.address)],
      log: log.child({ room: 'certificates' }),
      events,
    }),
  )
  addresses.onChange(() => void certificates.renew())

  const link = own(
    'sip',
    await connectSip(config.sip, {
      addresses,
      allowed,
      publicAddress: config.network.publicAddress,
      tls: {
        current: () => ({ ...certificates.current(), ca: certificates.caPem() }),
        onChange: listener => certificates.onChange(listener),
      },
      resolve: createResolve(),
      events,
      log: log.child({ room: 'sip' }),
    }),
  )
  link.onFlowClosed(flow => location.flowClosed(flow))
  const isOwn = createIsOwn(names, addresses, config.network.publicAddress)

  const registrar = createRegistrar({
    location,
    config: config.registrar,
    domain,
    node: life,
    gruuKey: data.secret('gruu.key', 32),
    events,
    now: Date.now,
    sameUri: sameUriText,
  })
  const auth = createAuth({
    config: config.auth,
    domains: [domain],
    isOwn,
    find: (user, realm) => accounts.find(user, realm),
    onMd5: (user, realm) => accounts.noteMd5(user, realm),
    secret: randomBytes(32),
    events,
  })
  const account = async (user: string) => {
    const found = await accounts.get(user, domain)
    return found?.enabled ? found : undefined
  }
  own(
    'departures',
    watchDepartures({
      registrar,
      mayRegister: async aor => {
        const [user = '', host = ''] = aor.replace(/^sips?:/, '').split('@')
        return (await accounts.get(user, host))?.enabled === true
      },
      version: () => database.version(),
      log: log.child({ room: 'registrar' }),
    }),
  )
  const arrival = own(
    'media worker',
    createArrival({
      cache: cacheDirectory(process.env),
      build: config.media.build,
      log: log.child({ room: 'media' }),
      onState: ({ sfu, why }) => events.emit('mediaStateChanged', { sfu, why }),
    }),
  )
  arrival.start()
  const media = own(
    'media',
    createMedia({
      config: config.media,
      addresses,
      publicAddress: config.network.publicAddress,
      arrival,
      events,
      log: log.child({ room: 'media' }),
      now: Date.now,
      srf: link.srf,
    }),
  )
  const recordings = createRecordings({ database, media, directory: data.path('recordings'), now: Date.now })
  const calls = own(
    'calls',
    createCalls({
      srf: link.srf,
      config: config.calls,
      domain,
      isOwn,
      find: account,
      bindings: aor => registrar.bindings(aor),
      bindingsOfGruu: uri => registrar.bindingsOfGruu(uri),
      receiver: user => groups.receiver(user),
      media,
      record: wish => recordings.begin(wish),
      records,
      events,
      log: log.child({ room: 'calls' }),
    }),
  )
  const groupStore = createSqlGroups({ database })
  const groups: Groups = own(
    'groups',
    createGroups({
      srf: link.srf,
      dialogs: calls.local,
      takeOut: calls.takeOut,
      media,
      store: groupStore,
      recordings,
      config: config.groups,
      domain,
      isOwn,
      account,
      bindingsOfGruu: uri => registrar.bindingsOfGruu(uri),
      events,
      log: log.child({ room: 'groups' }),
    }),
  )
  const routes = { srf: link.srf, auth, registrar, calls, groups, account, isOwn, domain }
  installRoutes({ ...routes, log: log.child({ room: 'routes' }) })

  const health = () => {
    const reasons = location.healthy() ? [] : [`registrations go on in memory only: ${location.why()}`]
    return {
      // Phones register and call without Redis; sending them elsewhere would help nobody.
      ready: true,
      degraded: reasons.length > 0,
      reasons,
      parts: parts(config, discovery?.name(), media),
      media: media.state(),
    }
  }
  const info = async (): Promise<ServerInfo> => ({
    name: discovery?.name() ?? domain,
    domain,
    version: projectVersion(),
    points: [
      ...link.points().map(p => `${p.protocol} ${formatHost(p.address)}:${p.port}`),
      ...(http?.points() ?? []).map(p => `${p.secure ? 'https' : 'http'} ${formatHost(p.address)}:${p.port}`),
    ],
    parts: parts(config, discovery?.name(), media),
    accounts: (await accounts.list()).length,
  })
  let http: Http | undefined
  if (config.http.enabled) {
    http = own(
      'http',
      await startHttp({
        config: config.http,
        addresses,
        allowed,
        certificates,
        adminToken,
        sessionsFile: data.path('sessions.json'),
        accounts,
        invitations: createInvitations({ database }),
        auth,
        web: own('web phone', openWebPhone({ log: log.child({ room: 'web' }) })),
        domain,
        registrations: registrar,
        calls,
        records,
        groups: groupStore,
        meetings: groups,
        mediaLoad: () => media.load(),
        storeFigures: () => store.figures?.(),
        recordings,
        health,
        info,
        began,
        engineStats: () => link.stats(),
        acceptWebSocket: link.acceptWebSocket,
        events,
        log: log.child({ room: 'http' }),
      }),
    )
  }
  if (config.discovery.enabled) {
    const services = serviceList(config, http, domain)
    // Claiming the name takes a second of probing; phones that know an address need not wait for it.
    const { announce } = await import('./discovery/discovery.ts')
    const claimed = announce({
      name: config.discovery.name,
      addresses,
      services,
      nodeId: node,
      events,
      log: log.child({ room: 'discovery' }),
    })
    own('discovery', { close: async () => (await claimed).close() })
    void claimed.then(found => {
      discovery = found
      void certificates.renew()
    })
  }
  if (http !== undefined) own('run file', writeRunFile(data.path('run.json'), http))
  return { info, events, oneTimeLink: () => http?.oneTimeLink() }
}

async function openRedis(config: Config, events: Events, log: Logger): Promise<RedisLink> {
  const { createRedisLink } = await import('./redis/link.ts')
  const link = createRedisLink({ config: config.store, events, log: log.child({ room: 'redis' }) })
  if (!(await link.ready())) log.warn({ why: link.why() }, 'going on in memory until Redis serves us')
  return link
}

async function openLocation(
  config: Config,
  deps: { redis: RedisLink | undefined; life: string; journal: string; events: Events; log: Logger },
): Promise<LocationStore> {
  const { redis, journal, ...rest } = deps
  if (redis === undefined) {
    return createMemoryStore({ now: Date.now, journal: createJournal({ path: journal, ...rest }) })
  }
  const { createSharedStore } = await import('./location/shared.ts')
  return createSharedStore({ link: redis, prefix: config.store.prefix, now: Date.now, ...rest })
}

function serviceList(config: Config, http: Http | undefined, domain: string) {
  const { sip } = config
  const txt = { domain, version: projectVersion() }
  const port = (secure: boolean) => http?.points().find(p => p.secure === secure)?.port ?? 0
  const all = [
    { type: 'sip', protocol: 'udp', port: sip.udp, txt },
    { type: 'sip', protocol: 'tcp', port: sip.tcp, txt },
    { type: 'sips', protocol: 'tcp', port: sip.tls, txt },
    { type: 'http', protocol: 'tcp', port: port(false), txt: { path: '/' } },
    { type: 'https', protocol: 'tcp', port: port(true), txt: { path: '/' } },
    { type: 'vaartha', protocol: 'tcp', port: port(true) || port(false) || sip.tcp || sip.udp, txt },
  ] as const
  return all.filter(service => service.port !== 0)
}
