import { hash, randomBytes } from 'node:crypto'
import { Refusal } from '../errors.ts'
import type { Credentials } from './accounts.ts'

// 32 signs that nobody confuses on a small screen (no l, o, 0, 1): five bits each, and no bias from the mask below.
const signs = 'abcdefghijkmnpqrstuvwxyz23456789'

/** A password of 80 random bits in four groups of four, for example `x7kd-mm4p-2hqa-wz9e`. */
export function makePassword(): string {
  const text = Array.from(randomBytes(16), byte => signs[byte & 31]).join('')
  return text.replace(/(.{4})(?=.)/g, '$1-')
}

/** Refuses (`bad-request`) a password that is too short, longer than anybody types, or not typable. */
export function checkPassword(password: string): void {
  if ([...password].length < 10) throw new Refusal('bad-request', 'a password needs at least 10 characters')
  if (password.length > 256) throw new Refusal('bad-request', 'a password may have at most 256 characters')
  if (/\p{Cc}/u.test(password)) throw new Refusal('bad-request', 'a password may not hold control characters')
}

/** What is stored of a password: A1 hashed per algorithm (RFC 7616 section 3.4.2, RFC 8760 section 2.4). */
export function hashPassword(
  user: string,
  domain: string,
  password: string,
): Pick<Credentials, 'ha1' | 'ha1WithDomain'> {
  const both = (name: string) => {
    const a1 = `${name}:${domain}:${password}`
    return { 'SHA-256': hash('sha256', a1), MD5: hash('md5', a1) }
  }
  return { ha1: both(user), ha1WithDomain: both(`${user}@${domain}`) }
}
