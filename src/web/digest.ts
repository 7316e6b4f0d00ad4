// SIP and HTTP digest as a browser can do it: MD5 by hand, because pages have no crypto of their own over plain HTTP
// and none with MD5 anywhere (RFC 1321, RFC 7616).

const shifts = [7, 12, 17, 22, 5, 9, 14, 20, 4, 11, 16, 23, 6, 10, 15, 21]
const sines = Array.from({ length: 64 }, (_, i) => Math.floor(Math.abs(Math.sin(i + 1)) * 2 ** 32) | 0)

/** MD5 of a text's UTF-8 bytes, in lower-case hex. */
export function md5(text: string): string {
  const bytes = new TextEncoder().encode(text)
  const blocks = (bytes.length + 72) >> 6
  const view = new DataView(new ArrayBuffer(blocks * 64))
  for (const [at, byte] of bytes.entries()) view.setUint8(at, byte)
  view.setUint8(bytes.length, 0x80)
  view.setUint32(blocks * 64 - 8, bytes.length << 3, true)
  view.setUint32(blocks * 64 - 4, bytes.length >>> 29, true)
  let state: [number, number, number, number] = [0x67452301, 0xefcdab89 | 0, 0x98badcfe | 0, 0x10325476]
  for (let block = 0; block < blocks; block++) state = mix(state, view, block * 64)
  const out = new DataView(new ArrayBuffer(16))
  for (const [i, word] of state.entries()) out.setInt32(i * 4, word, true)
  return Array.from(new Uint8Array(out.buffer), byte => byte.toString(16).padStart(2, '0')).join('')
}

function mix(start: [number, number, number, number], view: DataView, from: number): [number, number, number, number] {
  let [a, b, c, d] = start
  for (let i = 0; i < 64; i++) {
    const round = i >> 4
    const [f, k] =
      round === 0
        ? [(b & c) | (~b & d), i]
        : round === 1
          ? [(d & b) | (~d & c), (5 * i + 1) & 15]
          : round === 2
            ? [b ^ c ^ d, (3 * i + 5) & 15]
            : [c ^ (b | ~d), (7 * i) & 15]
    const sum = (a + f + sines[i]! + view.getInt32(from + k * 4, true)) | 0
    const shift = shifts[round * 4 + (i & 3)]!
    ;[a, d, c, b] = [d, c, b, (b + ((sum << shift) | (sum >>> (32 - shift)))) | 0]
  }
  return [(start[0] + a) | 0, (start[1] + b) | 0, (start[2] + c) | 0, (start[3] + d) | 0]
}

/** What is kept in place of a password (RFC 7616 section 3.4.2). The server hashes names in lower case. */
export function ha1Of(user: string, realm: string, password: string): string {
  return md5(`${user.toLowerCase()}:${realm}:${password}`)
}

/** The answer to a digest challenge with qop `auth`, as the value of an Authorization header. */
export function answerChallenge(
  challenge: string,
  who: { user: string; ha1: string },
  request: { method: string; uri: string; cnonce: string },
): string {
  const read = (name: string) => new RegExp(`\\b${name}="([^"]*)"`).exec(challenge)?.[1] ?? ''
  const [realm, nonce, opaque] = [read('realm'), read('nonce'), read('opaque')]
  const { method, uri, cnonce } = request
  const response = md5(`${who.ha1}:${nonce}:00000001:${cnonce}:auth:${md5(`${method}:${uri}`)}`)
  return (
    `Digest username="${who.user}", realm="${realm}", nonce="${nonce}", uri="${uri}", response="${response}", ` +
    `algorithm=MD5, qop=auth, nc=00000001, cnonce="${cnonce}", opaque="${opaque}"`
  )
}

/** The realm that a challenge asks for. */
export function realmOf(challenge: string): string {
  return /\brealm="([^"]*)"/.exec(challenge)?.[1] ?? ''
}
