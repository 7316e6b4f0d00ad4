import { Refusal } from '../errors.ts'

// Addresses that the server itself answers: tests of one's sound, and the maker of meetings with what it makes.
const own = /^(echo|meet|meet-.*)$/

/** The name of an account or group in lower case. Throws Refusal('bad-request') for one that cannot be, or is the server's own. */
export function checkName(text: string, of: 'user' | 'group'): string {
  const name = text.toLowerCase()
  if (!/^[a-z0-9._+-]{1,64}$/.test(name)) {
    throw new Refusal('bad-request', `a ${of} name is 1 to 64 of the signs a-z 0-9 . _ + -`)
  }
  if (own.test(name)) throw new Refusal('bad-request', `'${name}' is an address of the server itself`)
  return name
}
