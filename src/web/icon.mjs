import { crc32, deflateSync } from 'node:zlib'

// The program's picture, drawn by arithmetic: two voices as arcs that meet in a dot, white on blue.

const blue = [11, 87, 164]
const white = [255, 255, 255]

/** How much of a point is white, 0..1; `x` and `y` run from -1 to 1, `soft` is the width of a pixel. */
function ink(x, y, soft) {
  const cover = distance => Math.min(1, Math.max(0, 0.5 - distance / soft))
  const far = Math.hypot(x, y)
  const dot = far - 0.13
  // Arcs open to the left and to the right, so that they look like two who hear each other.
  const aside = Math.abs(Math.atan2(y, Math.abs(x))) - Math.PI / 4.2
  const arc = radius => Math.max(Math.abs(far - radius) - 0.055, aside * far)
  return Math.max(cover(dot), cover(arc(0.33)), cover(arc(0.55)))
}

/** A square PNG (RFC 2083), `size` pixels wide. It is filled to its edges: systems cut out their own shape. */
export function drawIcon(size) {
  const row = size * 3 + 1
  const pixels = Buffer.alloc(row * size)
  for (let y = 0; y < size; y++)
    for (let x = 0; x < size; x++) {
      const part = ink(((x + 0.5) / size) * 2 - 1, ((y + 0.5) / size) * 2 - 1, 2 / size)
      for (let c = 0; c < 3; c++) pixels[y * row + 1 + x * 3 + c] = Math.round(blue[c] + (white[c] - blue[c]) * part)
    }
  const head = Buffer.alloc(13)
  head.writeUInt32BE(size, 0)
  head.writeUInt32BE(size, 4)
  // 8 bits, RGB.
  head.set([8, 2, 0, 0, 0], 8)
  const signature = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a])
  return Buffer.concat([
    signature,
    chunk('IHDR', head),
    chunk('IDAT', deflateSync(pixels)),
    chunk('IEND', Buffer.alloc(0)),
  ])
}

function chunk(type, data) {
  const body = Buffer.concat([Buffer.from(type, 'latin1'), data])
  const frame = Buffer.alloc(8)
  frame.writeUInt32BE(data.length, 0)
  frame.writeUInt32BE(crc32(body), 4)
  return Buffer.concat([frame.subarray(0, 4), body, frame.subarray(4)])
}
