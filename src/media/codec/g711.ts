// ITU-T G.711: eight bits of sign, segment and step stand for 14 (mu-law) or 13 (A-law) bits of a sample. Both
// directions are tables, made once when the module is loaded.

export type Law = 'PCMU' | 'PCMA'

const decoded: Record<Law, Int16Array> = { PCMU: new Int16Array(256), PCMA: new Int16Array(256) }
const encoded: Record<Law, Uint8Array> = { PCMU: new Uint8Array(65536), PCMA: new Uint8Array(65536) }

/** The codes that stand for silence. */
export const quietCode: Record<Law, number> = { PCMU: 0xff, PCMA: 0xd5 }

// Table 2a: all bits are sent inverted; 33 is the bias that makes every segment twice as wide as the one before.
function expandMu(code: number): number {
  const bits = ~code & 0xff
  const magnitude = ((((bits & 0x0f) << 1) + 33) << ((bits >> 4) & 7)) - 33
  return (bits & 0x80 ? -magnitude : magnitude) << 2
}

// Table 1a: every second bit is sent inverted; the lowest two segments have the same step.
function expandA(code: number): number {
  const bits = code ^ 0x55
  const segment = (bits >> 4) & 7
  const step = ((bits & 0x0f) << 1) + 1
  const magnitude = segment === 0 ? step : (step + 32) << (segment - 1)
  return (bits & 0x80 ? magnitude : -magnitude) << 3
}

/** Fills the way back: each sample gets the code whose value lies nearest. */
function invert(law: Law): void {
  const codes = Array.from({ length: 256 }, (_, code) => code).sort((a, b) => decoded[law][a]! - decoded[law][b]!)
  let at = 0
  for (let sample = -32768; sample < 32768; sample++) {
    while (at < 255 && Math.abs(decoded[law][codes[at + 1]!]! - sample) <= Math.abs(decoded[law][codes[at]!]! - sample))
      at++
    encoded[law][sample & 0xffff] = codes[at]!
  }
}

for (let code = 0; code < 256; code++) {
  decoded.PCMU[code] = expandMu(code)
  decoded.PCMA[code] = expandA(code)
}
invert('PCMU')
invert('PCMA')
// Mu-law has two zeros; 0xff, the positive one, is what an idle line sends.
encoded.PCMU[0] = quietCode.PCMU

/** Expands `payload` into `pcm`, which is at least as long. */
export function expand(law: Law, payload: Uint8Array, pcm: Int16Array): void {
  const table = decoded[law]
  for (let i = 0; i < payload.length; i++) pcm[i] = table[payload[i]!]!
}

/** Compresses `pcm` into `payload`, which is at least as long. */
export function compress(law: Law, pcm: Int16Array, payload: Uint8Array): void {
  const table = encoded[law]
  for (let i = 0; i < pcm.length; i++) payload[i] = table[pcm[i]! & 0xffff]!
}

/** The value of one code, 16 bit. */
export function sampleOf(law: Law, code: number): number {
  return decoded[law][code]!
}
