import type { Config } from '../config/schema.ts'
import { Refusal } from '../errors.ts'
import type { Logger } from '../log.ts'
import type { RedisLink } from '../redis/redis.ts'
import { createDirectory, type DirectoryDeps, type DirectoryFigures } from './directory/directory.ts'
import { createResealing } from './resealing.ts'
import { createSealer, secretsOf } from './seal.ts'
import { createSharedSecrets, type SharedSecrets } from './secrets.ts'
import { createSharedSessions, type SessionTable } from './sessions.ts'

/** What the nodes of a cluster have in common: their people, their secrets, and who has signed in. */
export interface Common extends SharedSecrets {
  /** Takes what the others have; resolves after some seconds even without Redis. */
  start(): Promise<void>
  /** True for the one node that may do a thing, until a time in ms. Refuses `store-unavailable` while Redis is away. */
  claim(id: string, until: number): Promise<boolean>
  readonly sessions: { admins: SessionTable; phones: SessionTable }
  figures(): DirectoryFigures
  close(): Promise<void>
}

/** Throws Refusal('bad-config') where the configuration lacks what a cluster needs. */
export function createCommon(deps: {
  config: Pick<Config, 'cluster' | 'store' | 'calls'>
  redis: RedisLink | undefined
  /** The database of this node. */
  file: string
  log: Logger
  onRecordingRemoved?: DirectoryDeps['onRecordingRemoved']
}): Common {
  const { config, redis, file, log, onRecordingRemoved } = deps
  if (redis === undefined) {
    throw new Refusal('bad-config', 'cluster.name needs store.redis, through which the nodes know of each other')
  }
  const { prefix } = config.store
  const sealer = createSealer(secretsOf(config.cluster))
  const base = { redis, sealer, prefix, log }
  const directory = createDirectory({
    ...base,
    file,
    node: config.cluster.name,
    historyDays: config.calls.historyDays,
    ...(onRecordingRemoved === undefined ? {} : { onRecordingRemoved }),
  })
  const admins = createSharedSessions({ ...base, name: 'admins' })
  const phones = createSharedSessions({ ...base, name: 'phones' })
  const resealing = config.cluster.otherSecrets.length === 0 ? undefined : createResealing(base)
  return {
    ...createSharedSecrets(base),
    sessions: { admins, phones },
    async start() {
      await Promise.all([directory.start(), admins.start(), phones.start()])
      resealing?.start()
    },
    claim: (id, until) => directory.claim(id, until),
    figures: () => directory.figures(),
    close() {
      for (const table of [admins, phones, resealing]) table?.close()
      return directory.close()
    },
  }
}
