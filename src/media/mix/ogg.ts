// Ogg (RFC 3533) as a container of Opus (RFC 7845): pages of whole packets, each page good by itself, so that a file
// whose writer was killed plays to its last page.

const CRC = Uint32Array.from({ length: 256 }, (_, i) => {
  let crc = i << 24
  for (let bit = 0; bit < 8; bit++) crc = crc & 0x80000000 ? (crc << 1) ^ 0x04c11db7 : crc << 1
  return crc >>> 0
})

/** Of RFC 3533: polynomial 0x04c11db7, nothing inverted. */
function checksum(bytes: Uint8Array): number {
  let crc = 0
  for (let i = 0; i < bytes.length; i++) crc = ((crc << 8) ^ CRC[((crc >>> 24) ^ bytes[i]!) & 0xff]!) >>> 0
  return crc
}

/** Samples at 48 kHz that a decoder drops at the beginning (RFC 7845 section 4.2): the encoder's look-ahead. */
const PRE_SKIP = 312
const RATE = 48_000

export interface OggOpus {
  /** The two header pages. */
  head(): Uint8Array
  /** Takes a packet of `samples` at 48 kHz; gives a page when one is full (a second, or 255 segments). */
  add(packet: Uint8Array, samples: number): Uint8Array | undefined
  /** The last page. */
  end(): Uint8Array
  readonly seconds: number
}

const FIRST = 2
const LAST = 4

/** Makes pages of one mono stream. `serial` tells streams apart; `tags` are shown by players, as `TITLE=…`. */
export function createOggOpus(serial: number, tags: readonly string[]): OggOpus {
  let sequence = 0
  let granule = 0
  let lacing: number[] = []
  let body: Uint8Array[] = []
  let since = 0

  function page(flags: number, position: number): Uint8Array {
    const size = 27 + lacing.length + body.reduce((sum, part) => sum + part.length, 0)
    const out = Buffer.alloc(size)
    out.write('OggS', 0, 'latin1')
    out[5] = flags
    out.writeBigUInt64LE(BigInt(position), 6)
    out.writeUInt32LE(serial, 14)
    out.writeUInt32LE(sequence++, 18)
    out[26] = lacing.length
    out.set(lacing, 27)
    let at = 27 + lacing.length
    for (const part of body) {
      out.set(part, at)
      at += part.length
    }
    out.writeUInt32LE(checksum(out), 22)
    lacing = []
    body = []
    since = 0
    return out
  }

  function put(packet: Uint8Array): void {
    for (let left = packet.length; ; left -= 255) {
      lacing.push(Math.min(255, left))
      if (left < 255) break
    }
    body.push(packet)
  }

  const segments = (packet: Uint8Array): number => Math.floor(packet.length / 255) + 1

  return {
    head() {
      put(opusHead())
      const first = page(FIRST, 0)
      put(opusTags(tags))
      return Buffer.concat([first, page(0, 0)])
    },
    add(packet, samples) {
      const full = lacing.length + segments(packet) > 255 || since >= RATE ? page(0, granule) : undefined
      put(new Uint8Array(packet))
      granule += samples
      since += samples
      return full
    },
    end: () => page(LAST, granule),
    get seconds() {
      return Math.max(0, granule - PRE_SKIP) / RATE
    },
  }
}

/** RFC 7845 section 5.1. */
function opusHead(): Uint8Array {
  const head = Buffer.alloc(19)
  head.write('OpusHead', 0, 'latin1')
  head[8] = 1
  head[9] = 1
  head.writeUInt16LE(PRE_SKIP, 10)
  head.writeUInt32LE(RATE, 12)
  return head
}

/** RFC 7845 section 5.2. */
function opusTags(tags: readonly string[]): Uint8Array {
  const texts = ['vaartha', ...tags].map(text => Buffer.from(text))
  const sized = (text: Buffer): Buffer => {
    const length = Buffer.alloc(4)
    length.writeUInt32LE(text.length)
    return Buffer.concat([length, text])
  }
  const count = Buffer.alloc(4)
  count.writeUInt32LE(tags.length)
  const [vendor, ...comments] = texts.map(sized)
  return Buffer.concat([Buffer.from('OpusTags'), vendor!, count, ...comments])
}
