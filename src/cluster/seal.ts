import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from 'node:crypto'
import { Refusal } from '../errors.ts'

/** Keeps what the nodes share from everybody else who can read their Redis. */
export interface Sealer {
  /** `about` names where the text belongs: sealed for one place, it does not open in another. */
  seal(text: string, about: string): string
  /** Undefined for what was sealed with another secret, for another place, or not by us at all. */
  open(sealed: string, about: string): string | undefined
  /** The same sealed with our own secret; undefined where it is so already, or does not open. */
  reseal(sealed: string, about: string): string | undefined
}

const shortest = 24
/** What one proof each and their frame between nodes has room for. */
const most = 8

/** The secret of this node and those of others that it believes. Throws Refusal('bad-config') for one that is missing or too short. */
export function secretsOf({ secret, otherSecrets }: { secret: string; otherSecrets: readonly string[] }): string[] {
  const all = [...new Set([secret, ...otherSecrets])]
  check(all)
  if (all.length > most) throw new Refusal('bad-config', `cluster.otherSecrets may name ${most - 1} secrets`)
  return all
}

function check(secrets: readonly string[]): void {
  if (secrets.length > 0 && secrets.every(secret => secret.length >= shortest)) return
  throw new Refusal(
    'bad-config',
    `cluster.secret needs at least ${shortest} characters, the same on all nodes; make one with: openssl rand -base64 30`,
  )
}

const ivBytes = 12
const tagBytes = 16
const cipher = 'aes-256-gcm'

/**
 * AES-256-GCM under keys that HKDF (RFC 5869) derives from `cluster.secret`. The first secret seals, each of them opens,
 * so that a secret can be changed node by node. Throws Refusal('bad-config') for one that is missing or too short.
 */
export function createSealer(secrets: readonly string[]): Sealer {
  check(secrets)
  const derived = secrets.map(secret => ({
    id: Buffer.from(hkdfSync('sha256', secret, 'vaartha', 'name of the key', 6)).toString('base64url'),
    key: Buffer.from(hkdfSync('sha256', secret, 'vaartha', 'seal', 32)),
  }))
  const [first] = derived
  const keys = new Map(derived.map(({ id, key }) => [id, key]))
  const sealer: Sealer = {
    seal(text, about) {
      const iv = randomBytes(ivBytes)
      const sealing = createCipheriv(cipher, first!.key, iv).setAAD(Buffer.from(about))
      const body = Buffer.concat([iv, sealing.update(text, 'utf8'), sealing.final(), sealing.getAuthTag()])
      return `${first!.id}.${body.toString('base64url')}`
    },
    open(sealed, about) {
      const dot = sealed.indexOf('.')
      const key = keys.get(sealed.slice(0, dot))
      const body = Buffer.from(sealed.slice(dot + 1), 'base64url')
      if (key === undefined || body.length < ivBytes + tagBytes) return undefined
      const opening = createDecipheriv(cipher, key, body.subarray(0, ivBytes), { authTagLength: tagBytes })
      opening.setAAD(Buffer.from(about)).setAuthTag(body.subarray(-tagBytes))
      try {
        return opening.update(body.subarray(ivBytes, -tagBytes), undefined, 'utf8') + opening.final('utf8')
      } catch {
        // The tag does not fit: it is not what one of us has sealed for this place.
        return undefined
      }
    },
    reseal(sealed, about) {
      if (sealed.startsWith(`${first!.id}.`)) return undefined
      const text = sealer.open(sealed, about)
      return text === undefined ? undefined : sealer.seal(text, about)
    },
  }
  return sealer
}
