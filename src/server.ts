import { randomBytes } from 'node:crypto'
import { hostname } from 'node:os'
import { createSqlAccounts } from './accounts/accounts-sql.ts'
import { createInvitations } from './accounts/invitations.ts'
import { createAuth } from './auth/auth.ts'
import { createCalls } from './calls/calls.ts'
import type { MeetingsHere } from './calls/takeover.ts'
import { openCertificates } from './certificates/certificates.ts'
import { createBridge } from './cluster/bridge.ts'
import { createCluster } from './cluster/cluster.ts'
import type { Common, createCommon } from './cluster/common.ts'
import { createNodes } from './cluster/nodes.ts'
import { secretsOf } from './cluster/seal.ts'
import { createTurn } from './cluster/turn.ts'
import { openDataDirectory } from './config/data-directory.ts'
import { projectVersion } from './config/load.ts'
import type { Config } from './config/schema.ts'
import { openDatabase } from './database/database.ts'
import type { Discovery } from './discovery/discovery.ts'
import { openDrills } from './drill/open.ts'
import { createEvents, type Events } from './events.ts'
import { createGroups, type Groups } from './groups/groups.ts'
import { createSqlGroups } from './groups/groups-sql.ts'
import { createRecordings, dropFiles } from './groups/recorder.ts'
import { closeUnfinished } from './groups/unfinished.ts'
import { type Http, startHttp } from './http/http.ts'
import { createOwnState, type ServerInfo } from './http/own-state.ts'
import { otherPlaces, placesOf, serviceList } from './http/places.ts'
import { writeRunFile } from './http/run-file.ts'
import { openWebPhone } from './http/web-build.ts'
import { createJournal } from './location/journal.ts'
import { createMemoryStore } from './location/memory.ts'
import type { LocationStore } from './location/store.ts'
import { createWatchdog } from './location/watchdog.ts'
import type { Logger } from './log.ts'
import { buildMediaNode, checkRoles, openMedia } from './media-node.ts'
import { openMessaging } from './messaging/open.ts'
import { createAllowed } from './network/allowed.ts'
import { watchAddresses } from './network/interfaces.ts'
import { createIsOwn } from './network/own.ts'
import { createOpened, type Opened } from './opened.ts'
import { createRecords } from './records/records.ts'
import type { RedisLink } from './redis/redis.ts'
import { watchDepartures } from './registrar/departures.ts'
import { createRegistrar } from './registrar/registrar.ts'
import { installRoutes } from './routes.ts'
import { sameUriText } from './sip/engine/message/uri.ts'
import { connectSip } from './sip/link.ts'
import { createResolve } from './sip/resolve.ts'

export interface Server {
  info(): Promise<ServerInfo>
  events: Events
  /** A fresh link that signs a browser in as administrator, once; undefined while HTTP is off. */
  oneTimeLink(): string | undefined
  /** Takes nothing new and gives calls that go on to other nodes, for at most `limitMs`; how many calls and meetings are left. */
  drain(limitMs: number): Promise<number>
  close(): Promise<void>
}

/**
 * Builds every room bottom-up and closes them top-down. The only place that knows all rooms and that decides between
 * the embedded ones and Redis or drachtio-server. When a step fails, what was opened before is closed. What may be off
 * is imported only when it is on, for the memory of small machines.
 */
export async function startServer(config: Config, log: Logger): Promise<Server> {
  const { own, close } = createOpened(log)
  try {
    checkRoles(config)
    const make = config.cluster.roles.includes('sip') ? build : buildMediaNode
    return { ...(await make(config, log, own)), close }
  } catch (error) {
    await close()
    throw error
  }
}

async function build(config: Config, log: Logger, own: Opened['own']): Promise<Omit<Server, 'close'>> {
  const began = Date.now()
  const { domain } = config
  const clustered = config.cluster.name !== ''
  const data = openDataDirectory(config.data)
  const events = createEvents()
  const node = data.secret('node.id', 4).toString('hex')
  const adminToken = data.secret('admin.token', 32).toString('hex')
  const addresses = own('addresses', watchAddresses(config.network))
  addresses.onChange(now => events.emit('addressesChanged', { addresses: now.map(a => a.address) }))
  const allowed = createAllowed(config.network.allow)

  const database = own('database', await openDatabase(data.path('vaartha.sqlite'), log.child({ room: 'database' })))
  const accounts = createSqlAccounts({ database, events })
  const redis = config.store.redis === '' ? undefined : own('redis', await openRedis(config, events, log))
  // Nobody can trust the authority of a node that has had nobody yet.
  const replaceable = (await accounts.list()).length === 0
  const common = await openCommon(config, {
    redis,
    file: data.path('vaartha.sqlite'),
    log: log.child({ room: 'cluster' }),
    onRecordingRemoved: ({ files }) => dropFiles(data.path('recordings'), files),
  })
  if (common !== undefined) own('common', common)
  await common?.start()
  const gruuKey = (await common?.bytes(data.path('gruu.key'), 32)) ?? data.secret('gruu.key', 32)
  const records = own('records', createRecords({ database, events, historyDays: config.calls.historyDays }))
  await records.prune(config.calls.historyDays)

  // Bindings name the life of the process that holds their flow, not the machine: no flow survives a restart.
  const life = `${config.cluster.name || node}-${randomBytes(4).toString('hex')}`
  const journal = data.path('registrations.journal')
  const store = await openLocation(config, { redis, life, journal, events, log: log.child({ room: 'location' }) })
  // What others are told of this node is known when its ports are open.
  let places = () => ({ sip: '', http: '' })
  const cluster = own(
    'cluster',
    await createCluster({
      config,
      ...{ node, life, redis, version: projectVersion(), places: () => places() },
      address: () => addresses.current().find(found => !found.internal)?.address ?? '127.0.0.1',
      ready: () => places().sip !== '',
      log: log.child({ room: 'cluster' }),
    }),
  )
  const { members, leader, bus, replication, claims } = cluster
  own('bridge', createBridge({ events, bus, members }))
  const location = own(
    'location',
    createWatchdog({
      ...{ store, node: life, events, now: Date.now },
      leader: leader.isLeader,
      onDeath: members.onDeath,
      onChange: members.onChange,
      log: log.child({ room: 'location' }),
    }),
  )
  location.start()

  let discovery: Pick<Discovery, 'name'> | undefined
  const machine = hostname().toLowerCase()
  const sharedNames = clustered ? [`${config.discovery.name}.local`] : []
  const names = () => [
    ...new Set([domain, ...sharedNames, discovery?.name() ?? `${config.discovery.name}.local`, machine, 'localhost']),
  ]
  const certificates = own(
    'certificates',
    await openCertificates({
      directory: data.path('certificates'),
      cert: config.certificates.cert,
      key: config.certificates.key,
      names: () => [...names(), ...config.certificates.names, ...addresses.current().map(a => a.address)],
      ...(common === undefined ? {} : { agree: (good, ours) => common.agree('authority', good, ours), replaceable }),
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
      ...(clustered ? { cluster: { life, secrets: secretsOf(config.cluster) }, mayAct: members.holdsLease } : {}),
      events,
      log: log.child({ room: 'sip' }),
    }),
  )
  const close = link.onFlowClosed(flow => location.flowClosed(flow))
  // Who stops closes connections whose phones register at another node in a moment, and must not be unknown until then.
  if (clustered) own('flows', { close })
  const isOwn = createIsOwn(names, addresses, config.network.publicAddress)

  const registrar = createRegistrar({
    location,
    config: config.registrar,
    domain,
    node: life,
    gruuKey,
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
  const media = await openMedia({ config, data, addresses, cluster, srf: link.srf, events, log, own })
  await closeUnfinished({ database, directory: data.path('recordings'), log: log.child({ room: 'groups' }) })
  const recordings = createRecordings({ database, media, directory: data.path('recordings'), now: Date.now })
  const meetings: MeetingsHere = { take: taken => groups.here.take(taken), find: wanted => groups.here.find(wanted) }
  const bindings = (aor: string) => registrar.bindings(aor)
  const { dialogs } = link
  const shared = { replication, members, bus, bindings, onBindings: store.onChanged }
  const among = clustered && dialogs !== undefined ? { ...shared, dialogs } : undefined
  const calls = own(
    'calls',
    createCalls({
      srf: link.srf,
      config: config.calls,
      domain,
      isOwn,
      find: account,
      bindings,
      bindingsOfGruu: uri => registrar.bindingsOfGruu(uri),
      receiver: user => groups.receiver(user),
      media,
      record: wish => recordings.begin(wish),
      records,
      others: among && { ...among, meetings },
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
      recover: calls.recover,
      others: among && claims && { ...among, claims, sessionExpires: config.calls.sessionExpires },
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
  const people = { srf: link.srf, registrar, account, isOwn, domain, events }
  const messageRooms = { config, ...people, groups: groupStore, database, redis, life, cluster }
  const messaging = own('messaging', await openMessaging({ ...messageRooms, log: log.child({ room: 'messaging' }) }))
  const routes = { ...people, auth, calls, groups, messaging }
  installRoutes({ ...routes, log: log.child({ room: 'routes' }) })

  const { health, info, figures } = createOwnState({
    ...{ config, location, bus, media, accounts, link },
    name: () => discovery?.name(),
    http: () => http,
  })
  members.onBeat(figures)
  const drain = async (limitMs: number) => {
    await members.drain()
    const left = await Promise.all([calls, groups].map(room => room.drain(limitMs)))
    return left.reduce((sum, count) => sum + count)
  }
  const work = {
    drain: () => drain(config.cluster.drainSeconds * 1000),
    undrain() {
      for (const room of [calls, groups]) room.undrain()
    },
  }
  const nodes = clustered ? createNodes(cluster, work, log.child({ room: 'cluster' })) : undefined
  const file = data.path('drills.json')
  const drillRooms = { config, cluster, nodes, redis, file, accounts, registrar, records, calls, groups, events }
  const drills = own('drills', openDrills({ ...drillRooms, log: log.child({ room: 'drill' }) }))
  let http: Http | undefined
  places = () => placesOf(config, link.points(), http)
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
        invitations: createInvitations({ database, ...(common === undefined ? {} : { claim: common.claim }) }),
        ...(common === undefined ? {} : { sessionTables: common.sessions, directoryFigures: common.figures }),
        auth,
        web: own('web phone', openWebPhone({ log: log.child({ room: 'web' }) })),
        domain,
        registrations: registrar,
        calls,
        records,
        groups: groupStore,
        messages: messaging.figures,
        meetings: groups,
        otherPlaces: () => otherPlaces(members),
        mediaLoad: () => media.load(),
        nodes,
        drills,
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
    const { announceNode } = await import('./discovery/node.ts')
    discovery = own(
      'discovery',
      announceNode({
        ...{ name: config.discovery.name, addresses, services, nodeId: node, events },
        node: clustered ? { name: config.cluster.name, turn: createTurn(members) } : undefined,
        // Claiming the name takes a second of probing; phones that know an address need not wait for it.
        onClaimed: () => void certificates.renew(),
        log: log.child({ room: 'discovery' }),
      }),
    )
  }
  if (http !== undefined) own('run file', writeRunFile(data.path('run.json'), http))
  return { info, events, oneTimeLink: () => http?.oneTimeLink(), drain }
}

async function openRedis(config: Config, events: Events, log: Logger): Promise<RedisLink> {
  const { createRedisLink } = await import('./redis/link.ts')
  const link = createRedisLink({ config: config.store, events, log: log.child({ room: 'redis' }) })
  if (!(await link.ready())) log.warn({ why: link.why() }, 'going on in memory until Redis serves us')
  return link
}

/** What this node has in common with others; undefined for a node by itself. */
async function openCommon(
  config: Config,
  deps: Omit<Parameters<typeof createCommon>[0], 'config'>,
): Promise<Common | undefined> {
  if (config.cluster.name === '') return undefined
  return (await import('./cluster/common.ts')).createCommon({ config, ...deps })
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
