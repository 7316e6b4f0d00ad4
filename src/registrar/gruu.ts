import { createCipheriv, createDecipheriv, createHash, createHmac, timingSafeEqual } from 'node:crypto'

/** What a GRUU stands for (RFC 5627). */
export interface ResolvedGruu {
  aor: string
  instance: string
  /** Only of a temporary one: it holds as long as the instance is registered under this Call-ID, by its digest. */
  callIdDigest?: string
}

/** Makes and reads GRUUs without keeping any. */
export interface Gruus {
  /** The public one: the address of record with `gr`. */
  pub(aor: string, instance: string): string
  /** A temporary one: it shows nothing of the person, and only this key can read it. A new `salt` gives another one. */
  temp(aor: string, instance: string, callId: string, salt: string): string
  /** Undefined for a URI that is no GRUU of this domain. */
  resolve(uri: string): ResolvedGruu | undefined
}

const tempUser = 'tgruu.'
const ivBytes = 16

/**
 * `key` is a secret of at least 32 bytes that survives restarts and is the same on all nodes. A temporary GRUU is its
 * own record, encrypted under an IV that is the HMAC of the text, so that forging one means guessing 128 bits, and the
 * same text gives the same URI (RFC 5627 appendix A.2 has the idea, this form is ours).
 */
export function createGruus(domain: string, key: Buffer): Gruus {
  const cipherKey = createHmac('sha256', key).update('temp-gruu cipher').digest()
  const macKey = createHmac('sha256', key).update('temp-gruu mac').digest()
  const mac = (text: Buffer) => createHmac('sha256', macKey).update(text).digest().subarray(0, ivBytes)

  function readTemp(token: string): ResolvedGruu | undefined {
    const bytes = Buffer.from(token, 'base64url')
    if (bytes.length <= ivBytes) return undefined
    const iv = bytes.subarray(0, ivBytes)
    const text = createDecipheriv('aes-256-ctr', cipherKey, iv).update(bytes.subarray(ivBytes))
    if (!timingSafeEqual(mac(text), iv)) return undefined
    const [aor = '', instance = '', callIdDigest = ''] = text.toString('utf8').split('\n')
    return { aor, instance, callIdDigest }
  }

  return {
    pub: (aor, instance) => `${aor};gr=${escapeParameter(instance)}`,
    temp(aor, instance, callId, salt) {
      const text = Buffer.from([aor, instance, digestCallId(callId), salt].join('\n'))
      const iv = mac(text)
      const sealed = createCipheriv('aes-256-ctr', cipherKey, iv).update(text)
      return `sip:${tempUser}${Buffer.concat([iv, sealed]).toString('base64url')}@${domain};gr`
    },
    resolve(uri) {
      const parts = /^(sips?):([^@;?]+)@([^;?]+)((?:;[^?]*)?)/i.exec(uri)
      if (parts === null || parts[3]!.toLowerCase() !== domain.toLowerCase()) return undefined
      const gr = parts[4]!.split(';').find(parameter => /^gr(=|$)/i.test(parameter))
      if (gr === undefined) return undefined
      const user = parts[2]!
      if (gr.length > 3) return { aor: `sip:${user}@${domain}`, instance: unescapeParameter(gr.slice(3)) }
      return user.startsWith(tempUser) ? readTemp(user.slice(tempUser.length)) : undefined
    },
  }
}

/** A short digest that ties a temporary GRUU to its registration's Call-ID without showing it. */
export function digestCallId(callId: string): string {
  return createHash('sha256').update(callId).digest('base64url').slice(0, 12)
}

// Everything but unreserved and param-unreserved characters is escaped (RFC 3261 section 25.1).
function escapeParameter(text: string): string {
  return encodeURIComponent(text.toWellFormed()).replace(/%(3A|2F|26|2B|24|5B|5D)/g, escaped =>
    decodeURIComponent(escaped),
  )
}

function unescapeParameter(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}
