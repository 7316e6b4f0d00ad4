import { randomBytes } from 'node:crypto'
import { setTimeout as wait } from 'node:timers/promises'
import { type ClusterRooms, createCluster } from './cluster/cluster.ts'
import { createNodes } from './cluster/nodes.ts'
import { type DataDirectory, openDataDirectory } from './config/data-directory.ts'
import { projectVersion } from './config/load.ts'
import type { Config } from './config/schema.ts'
import { Refusal } from './errors.ts'
import { createEvents, type Events } from './events.ts'
import type { Logger } from './log.ts'
import { createMedia } from './media/create.ts'
import type { Media, MediaState } from './media/media.ts'
import type { MediaServing } from './media/nodes/serve.ts'
import { createArrival } from './media/worker/arrival.ts'
import { cacheDirectory } from './media/worker/places.ts'
import { type AddressWatch, watchAddresses } from './network/interfaces.ts'
import type { Opened } from './opened.ts'

// What a node does for media, by its roles: carries it for itself, for others, or has it carried.

export interface MediaPartDeps {
  config: Config
  data: DataDirectory
  addresses: AddressWatch
  cluster: Pick<ClusterRooms, 'members' | 'bus'>
  /** The SIP application, which calls a FreeSWITCH where one mixes. */
  srf: object
  events: Events
  log: Logger
  own: Opened['own']
}

/** The media of this node and of all others that carry some. A node by itself has its own and no other. */
export async function openMedia(deps: MediaPartDeps): Promise<Media> {
  const { config, cluster, own } = deps
  if (config.cluster.name === '') return own('media', openLocal(deps))
  const { createOrchestrator } = await import('./media/nodes/orchestrator.ts')
  const local = config.cluster.roles.includes('media') ? openLocal(deps) : undefined
  const log = deps.log.child({ room: 'media' })
  const media = own('media', createOrchestrator({ ...deps, ...cluster, local, log }))
  if (local === undefined) return media
  await serve(deps, local)
  if (config.cluster.replication === 'hot-standby') await warm(deps, local)
  return media
}

/** What takes over from others has its worker and its audio thread before they die. */
async function warm({ config, cluster, log, own }: MediaPartDeps, media: Media): Promise<void> {
  const { warmBeside } = await import('./media/warm.ts')
  const towards = config.cluster.address || '127.0.0.1'
  own('media beforehand', warmBeside({ media, members: cluster.members, towards, log: log.child({ room: 'media' }) }))
}

function openLocal({ config, addresses, srf, events, log, own }: MediaPartDeps): Media {
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
  const { publicAddress } = config.network
  const common = { config: config.media, addresses, publicAddress, arrival, events, srf, now: Date.now }
  return createMedia({ ...common, log: log.child({ room: 'media' }) })
}

/** Lets the other nodes use what is carried here. */
async function serve({ data, addresses, cluster, log, own }: MediaPartDeps, media: Media) {
  const { serveMedia } = await import('./media/nodes/serve.ts')
  const { bus, members } = cluster
  const directory = data.path('recordings-of-others')
  const common = { media, bus, life: members.life, addresses, directory, log: log.child({ room: 'media' }) }
  const serving = serveMedia(common)
  own('media for others', {
    async close() {
      // They move what they have here as soon as they see that this node drains.
      if (members.self().state === 'draining') await emptied(serving, partingMs)
      await serving.close()
    },
  })
  return serving
}

const partingMs = 2000

async function emptied(serving: MediaServing, limitMs: number): Promise<void> {
  const late = performance.now() + limitMs
  while (serving.legs() > 0 && performance.now() < late) await wait(50)
}

/** Says what is wrong with `cluster.roles`. Throws Refusal `bad-config`. */
export function checkRoles({ cluster, store, media }: Config): void {
  const { roles, name } = cluster
  const unknown = roles.filter(role => role !== 'sip' && role !== 'media')
  const refuse = (why: string) => {
    throw new Refusal('bad-config', why)
  }
  if (unknown.length > 0) refuse(`cluster.roles: there is no '${unknown.join(', ')}', only sip and media`)
  if (roles.length === 0) refuse('cluster.roles is empty: a node is for sip, media or both')
  const both = roles.includes('sip') && roles.includes('media')
  if (!both && name === '') refuse('cluster.roles: a node by itself does both, sip and media; cluster.name is empty')
  if (!both && store.redis === '') refuse('cluster.roles: nodes find each other by store.redis, which is empty')
  if (!roles.includes('sip') && media.mixer === 'freeswitch') {
    refuse('media.mixer: a node without the role sip cannot call a FreeSWITCH; let its own program mix')
  }
}

export interface MediaNode {
  events: Events
  info(): Promise<MediaNodeInfo>
  oneTimeLink(): undefined
  /** Takes nothing new, and waits for at most `limitMs` until others have moved what is here; the number of legs left. */
  drain(limitMs: number): Promise<number>
}

export interface MediaNodeInfo {
  name: string
  domain: string
  version: string
  points: string[]
  parts: Record<string, { on: boolean; why: string }>
  accounts: number
}

/** A node that carries media for others: it has no SIP, no people and no HTTP, and is told what to do over the bus. */
export async function buildMediaNode(config: Config, log: Logger, own: Opened['own']): Promise<MediaNode> {
  const data = openDataDirectory(config.data)
  const events = createEvents()
  const addresses = own('addresses', watchAddresses(config.network))
  const { createRedisLink } = await import('./redis/link.ts')
  const redis = own('redis', createRedisLink({ config: config.store, events, log: log.child({ room: 'redis' }) }))
  if (!(await redis.ready())) log.warn({ why: redis.why() }, 'Redis does not answer yet')
  const { name } = config.cluster
  const cluster = own(
    'cluster',
    await createCluster({
      // It has no calls, and keeps nothing of them.
      config: { ...config, cluster: { ...config.cluster, replication: 'none' } },
      ...{ node: name, life: `${name}-${randomBytes(4).toString('hex')}`, redis, version: projectVersion() },
      places: () => ({ sip: '', http: '' }),
      address: () => addresses.current().find(found => !found.internal)?.address ?? '127.0.0.1',
      ready: () => serving !== undefined,
      log: log.child({ room: 'cluster' }),
    }),
  )
  const deps: MediaPartDeps = { config, data, addresses, cluster, srf: {}, events, log, own }
  const media = own('media', openLocal(deps))
  let serving: Awaited<ReturnType<typeof serve>> | undefined
  serving = await serve(deps, media)
  await warm(deps, media)
  const { members } = cluster
  members.onBeat(() => ({ legs: legsOf(media) }))

  const drain = async (limitMs: number) => {
    await members.drain()
    await emptied(serving, limitMs)
    return serving.legs()
  }
  const work = { drain: () => drain(config.cluster.drainSeconds * 1000), undrain: () => undefined }
  createNodes(cluster, work, log.child({ room: 'cluster' }))
  return {
    events,
    oneTimeLink: () => undefined,
    drain,
    info: async () => ({
      name,
      domain: config.domain,
      version: projectVersion(),
      points: addresses.current().map(({ address }) => `media ${address}:${config.media.port}`),
      parts: { media: partOf(media.state()) },
      accounts: 0,
    }),
  }
}

const partOf = ({ sfu, why }: MediaState) => ({ on: sfu === 'ready', why: why || `for the nodes with the role sip` })

function legsOf(media: Media): number {
  const { workers, ports } = media.load()
  return workers.reduce((sum, worker) => sum + worker.legs, ports)
}
