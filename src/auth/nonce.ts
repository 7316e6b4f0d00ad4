import { hash, randomBytes } from 'node:crypto'
import { sameText } from './digest.ts'

export interface Nonces {
  /** A new nonce that only this source address may use. Nothing is stored for it. */
  make(source: string): string
  /** Says whether a nonce is ours, given to this source, and young enough. */
  valid(nonce: string, source: string): boolean
  /** Notes that a right answer used this count of a valid nonce; false when it did before (RFC 7616 section 5.5). */
  use(nonce: string, nc: number): boolean
}

// Counts may come out of order over UDP, so the last 32 are remembered one by one.
interface Used {
  top: number
  seen: number
  issued: number
  until: number
}

/**
 * Nonces of 8 bytes time, 8 bytes never the same, and 16 bytes of a keyed hash over both and the source address. The address
 * is in it so that nobody can get another address banned by failing under its name over UDP. Only nonces that a right answer
 * has used are remembered, at most `most` of them.
 */
export function createNonces(deps: { secret: Buffer; seconds: number; now: () => number; most?: number }): Nonces {
  const { secret, seconds, now, most = 100_000 } = deps
  const used = new Map<string, Used>()
  const unique = randomBytes(8)
  let count = 0
  // Nonces issued up to here may have been used and forgotten, so they are not taken for unused ones.
  let forgotten = 0

  // Half of SHA-256 over key and data: what is cut off is what a length extension needs. node:crypto's HMAC prepares its
  // key anew for each nonce, which takes several times as long as the hashing.
  const key = secret.toString('base64url')
  function sign(data: string, source: string) {
    return hash('sha256', `${key} ${data} ${source}`, 'base64url').slice(0, 22)
  }
  const issuedAt = (nonce: string) => Number.parseInt(nonce.slice(0, 12), 16)

  function forget(time: number) {
    for (const [nonce, entry] of used) {
      if (entry.until > time && used.size < most) return
      used.delete(nonce)
      forgotten = Math.max(forgotten, entry.issued)
    }
  }

  return {
    make(source) {
      count = (count + 1) >>> 0
      unique.writeUInt32BE(count, 4)
      const data = now().toString(16).padStart(12, '0') + unique.toString('hex')
      return data + sign(data, source)
    },
    valid(nonce, source) {
      if (nonce.length !== 50) return false
      const issued = issuedAt(nonce)
      const age = now() - issued
      if (!(age >= 0 && age < seconds * 1000)) return false
      if (issued <= forgotten && !used.has(nonce)) return false
      return sameText(nonce.slice(28), sign(nonce.slice(0, 28), source))
    },
    use(nonce, nc) {
      const entry = used.get(nonce)
      if (!entry) {
        const time = now()
        forget(time)
        used.set(nonce, { top: nc, seen: 1, issued: issuedAt(nonce), until: time + seconds * 1000 })
        return true
      }
      const ahead = nc - entry.top
      if (ahead > 0) {
        entry.seen = ahead < 32 ? (entry.seen << ahead) | 1 : 1
        entry.top = nc
        return true
      }
      const bit = ahead > -32 ? 1 << -ahead : 0
      if (bit === 0 || entry.seen & bit) return false
      entry.seen |= bit
      return true
    },
  }
}
