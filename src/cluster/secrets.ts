import { randomBytes } from 'node:crypto'
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { Refusal } from '../errors.ts'
import type { Logger } from '../log.ts'
import type { RedisLink } from '../redis/redis.ts'
import type { Sealer } from './seal.ts'

/** What all nodes must have alike to be one server: keys, and the authority that their certificates are of. */
export interface SharedSecrets {
  /**
   * Bytes that are the same on all nodes and ever after, kept in a file too, so that a start needs no Redis but the very
   * first one of a node. Refuses `store-unavailable` when that has waited for Redis in vain.
   */
  bytes(file: string, size: number): Promise<Buffer>
  /**
   * The text that all nodes go by under a name: the one that is there, else ours. One that is there and not `good` (any
   * more) gives way to ours. Refuses `store-unavailable`.
   */
  agree(name: string, good: (text: string) => boolean, ours: () => Promise<string>): Promise<string>
}

export interface SharedSecretsDeps {
  redis: RedisLink
  sealer: Sealer
  /** Of all keys in Redis. */
  prefix: string
  log: Logger
  /** How long the first start of a node waits for Redis, in ms. */
  firstMs?: number
}

// Writes only where nothing has changed since it was read, so that of two nodes one comes too late and sees it.
const agreeScript = `
if (redis.call('GET', KEYS[1]) or '') ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2])
return 1`

export function createSharedSecrets(deps: SharedSecretsDeps): SharedSecrets {
  const { redis, sealer, log, firstMs = 30_000 } = deps
  const put = redis.script<number>('agree', agreeScript, 1)

  async function agree(name: string, good: (text: string) => boolean, ours: () => Promise<string>): Promise<string> {
    const key = `${deps.prefix}:secret:${name}`
    let own: string | undefined
    for (;;) {
      const sealed = (await redis.ask('agree', client => client.get(key))) ?? ''
      const text = sealed === '' ? undefined : sealer.open(sealed, key)
      if (sealed !== '' && text === undefined) {
        throw new Refusal(
          'bad-config',
          `cluster.secret is not the one that ${key} in Redis is sealed with: all nodes need the same`,
        )
      }
      if (text !== undefined && good(text)) return text
      own ??= await ours()
      await put(key, sealed, sealer.seal(own, key))
    }
  }

  async function wait(): Promise<void> {
    const end = performance.now() + firstMs
    while (!(await redis.ready())) {
      if (performance.now() > end) {
        const why = `${redis.why()}; a node needs it at its first start, to share the secrets of the others`
        throw new Refusal('store-unavailable', why)
      }
      log.warn({ why: redis.why() }, 'waiting for Redis, which the first start of a node needs')
    }
  }

  /** Takes over what the others go by; ours, when it is another one, was made before this node met them. */
  async function share(file: string, size: number, own: Buffer | undefined): Promise<Buffer> {
    const isKey = (text: string) => /^[0-9a-f]+$/.test(text) && text.length === 2 * size
    const name = file.slice(file.lastIndexOf('/') + 1)
    const text = await agree(name, isKey, async () => (own ?? randomBytes(size)).toString('hex'))
    if (text === own?.toString('hex')) return own
    writeFileSync(`${file}.new`, text, { mode: 0o600 })
    renameSync(`${file}.new`, file)
    if (own !== undefined) log.warn({ name }, 'a secret of this node has given way to that of the other nodes')
    return Buffer.from(text, 'hex')
  }

  return {
    agree,
    async bytes(file, size) {
      const own = read(file, size)
      if (own === undefined) {
        await wait()
        return share(file, size, own)
      }
      if (redis.healthy()) return share(file, size, own)
      const stop = redis.onChange(healthy => {
        if (!healthy) return
        stop()
        share(file, size, own).then(
          shared => {
            if (!shared.equals(own)) log.error({ file }, 'the other nodes have another secret: restart this node')
          },
          error => log.error({ err: error, file }, 'a secret could not be compared with that of the other nodes'),
        )
      })
      return own
    },
  }
}

function read(file: string, size: number): Buffer | undefined {
  if (!existsSync(file)) return undefined
  const kept = Buffer.from(readFileSync(file, 'utf8').trim(), 'hex')
  if (kept.length !== size) throw new Refusal('bad-config', `${file} is damaged: remove it, and a new one is made`)
  return kept
}
