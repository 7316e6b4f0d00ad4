import { createCipheriv, createDecipheriv, createHmac, hkdfSync, randomBytes, timingSafeEqual } from 'node:crypto'
import type { Socket } from 'node:net'

// Two nodes that know the same secret talk over TCP. First each sends its name and 32 random bytes, and proves that it
// knows the secret by an HMAC over both names and both random values; neither tells anything before the other has
// proved itself. While a secret is changed node by node the opener sends a proof for each one that it knows, and the
// listener answers for the first of its own that is among them. From there on every frame is sealed with AES-256-GCM under keys of this connection alone, one for each
// direction, with a counter as nonce: nothing can be read, changed, left out or played again.
//
//   frame: length (4 bytes), then the sealed JSON and its tag (16 bytes)

export const mostBytes = 1 << 20
const mostHelloBytes = 512
const helloMs = 3000
const tagBytes = 16
const proofBytes = 32

export interface SealedSocket {
  /** Name of the other node, proved. */
  readonly peer: string
  /** False when it could not be sent: it is too large, or too much waits already. */
  send(message: unknown): boolean
  close(): void
}

export interface SealedDeps {
  socket: Socket
  /** Who opened the connection. */
  opener: boolean
  node: string
  /** One that both know is enough. */
  secrets: readonly string[]
  onMessage(message: unknown, socket: SealedSocket): void
  /** Once, whatever ends it: `why` in words. */
  onClose(why: string): void
}

// What may wait to be sent to a node that does not read.
const mostUnsent = 8 << 20

/** Resolves when both have proved themselves; rejects, and destroys the socket, when not. */
export function sealSocket(deps: SealedDeps): Promise<SealedSocket> {
  const { socket, opener, node, secrets } = deps
  const nonce = randomBytes(32).toString('base64url')
  let received: Buffer = Buffer.alloc(0)
  let opened: SealedSocket | undefined
  let open: ((frame: Buffer) => Buffer) | undefined
  let theirs: { node: string; nonce: string } | undefined
  let why = 'the connection was closed'
  socket.setNoDelay(true)
  socket.setKeepAlive(true, 5000)

  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => fail('it did not prove itself in time'), helloMs)
    const fail = (reason: string) => {
      why = reason
      socket.destroy()
    }
    socket.on('error', error => {
      why = error.message
    })
    socket.on('close', () => {
      clearTimeout(timer)
      reject(new Error(why))
      if (opened !== undefined) deps.onClose(why)
    })
    socket.on('data', chunk => {
      received = received.length === 0 ? chunk : Buffer.concat([received, chunk])
      while (received.length >= 4 && !socket.destroyed) {
        const length = received.readUInt32BE(0)
        if (length > (opened === undefined ? mostHelloBytes : mostBytes + tagBytes)) return fail('a frame was too long')
        if (received.length < 4 + length) return
        const frame = received.subarray(4, 4 + length)
        received = received.subarray(4 + length)
        try {
          take(frame)
        } catch (error) {
          return fail((error as Error).message)
        }
      }
    })
    writeFrame(socket, Buffer.from(JSON.stringify({ vaartha: 1, node, nonce })))

    /** A hello, then a proof, then messages. */
    function take(frame: Buffer): void {
      if (open !== undefined) return deps.onMessage(JSON.parse(open(frame).toString()), opened!)
      if (theirs === undefined) {
        theirs = readHello(frame)
        // Who repeats our own words back to us knows nothing.
        if (theirs.nonce === nonce) throw new Error('it sent our own hello back')
        if (opener) writeFrame(socket, Buffer.concat(secrets.map(secret => proof(secret, true))))
        return
      }
      const secret = secrets.find(one => holds(frame, proof(one, !opener)))
      if (secret === undefined) throw new Error('it does not know the secret of the cluster')
      if (!opener) writeFrame(socket, proof(secret, false))
      begin(theirs.node, secret)
    }

    const both = () => {
      const [a, b] = opener ? [{ node, nonce }, theirs!] : [theirs!, { node, nonce }]
      return JSON.stringify([a.node, a.nonce, b.node, b.nonce])
    }
    const proof = (secret: string, ofOpener: boolean) =>
      createHmac('sha256', secret)
        .update(`vaartha link ${ofOpener ? 'opener' : 'listener'} ${both()}`)
        .digest()
    const key = (secret: string, ofOpener: boolean) =>
      Buffer.from(hkdfSync('sha256', secret, both(), `vaartha link key ${ofOpener ? 'opener' : 'listener'}`, 32))

    function begin(peer: string, secret: string): void {
      clearTimeout(timer)
      open = unsealer(key(secret, !opener))
      const seal = sealer(key(secret, opener))
      opened = {
        peer,
        send(message) {
          const text = Buffer.from(JSON.stringify(message))
          if (socket.destroyed || text.length > mostBytes || socket.writableLength > mostUnsent) return false
          writeFrame(socket, seal(text))
          return true
        },
        close: () => socket.destroy(),
      }
      resolve(opened)
    }
  })
}

/** Whether one of the proofs in a frame is this one. */
function holds(frame: Buffer, proof: Buffer): boolean {
  let found = false
  for (let at = 0; at + proofBytes <= frame.length; at += proofBytes) {
    if (timingSafeEqual(frame.subarray(at, at + proofBytes), proof)) found = true
  }
  return found
}

function readHello(frame: Buffer): { node: string; nonce: string } {
  const hello = JSON.parse(frame.toString()) as { vaartha?: unknown; node?: unknown; nonce?: unknown }
  const { node, nonce } = hello
  if (hello.vaartha !== 1 || typeof node !== 'string' || typeof nonce !== 'string' || nonce.length !== 43) {
    throw new Error('it speaks another language')
  }
  return { node, nonce }
}

function writeFrame(socket: Socket, frame: Buffer): void {
  const length = Buffer.allocUnsafe(4)
  length.writeUInt32BE(frame.length)
  socket.cork()
  socket.write(length)
  socket.write(frame)
  socket.uncork()
}

function counter(): () => Buffer {
  let n = 0
  return () => {
    const nonce = Buffer.alloc(12)
    nonce.writeUIntBE(n++, 6, 6)
    return nonce
  }
}

function sealer(key: Buffer): (text: Buffer) => Buffer {
  const next = counter()
  return text => {
    const cipher = createCipheriv('aes-256-gcm', key, next())
    return Buffer.concat([cipher.update(text), cipher.final(), cipher.getAuthTag()])
  }
}

function unsealer(key: Buffer): (frame: Buffer) => Buffer {
  const next = counter()
  return frame => {
    const decipher = createDecipheriv('aes-256-gcm', key, next())
    decipher.setAuthTag(frame.subarray(frame.length - tagBytes))
    return Buffer.concat([decipher.update(frame.subarray(0, -tagBytes)), decipher.final()])
  }
}
