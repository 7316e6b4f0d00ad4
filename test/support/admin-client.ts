import { createConnection, type Socket } from 'node:net'
import { createFrameReader, encodeFrame } from '../../src/sip/engine/wire/framing.ts'

// A program on the admin protocol that says exactly what a test wants.

export interface AdminClient {
  readonly socket: Socket
  /** Sends one frame; returns its message id. */
  say(leader: string, sip?: string): string
  /** The next frame that fits, as leader fields and SIP text; rejects after 3 seconds. */
  wait(fits: (fields: string[], sip: string) => boolean): Promise<{ fields: string[]; sip: string }>
  /** The `response` frame to a message id, from its fourth field on. */
  answer(id: string): Promise<string[]>
  closed: Promise<void>
  close(): void
}

/** Connects to an admin listener; says nothing by itself. */
export async function createAdminClient(port: number): Promise<AdminClient> {
  const socket = createConnection(port, '127.0.0.1')
  await new Promise<void>((resolve, reject) => socket.once('connect', resolve).once('error', reject))
  const frames: { fields: string[]; sip: string }[] = []
  const waiting = new Set<() => void>()
  const reader = createFrameReader(payload => {
    const text = payload.toString()
    const cr = text.indexOf('\r\n')
    frames.push({
      fields: (cr < 0 ? text : text.slice(0, cr)).split('|'),
      sip: cr < 0 ? '' : text.slice(cr + 2),
    })
    for (const look of [...waiting]) look()
  }, 1 << 24)
  socket.on('data', chunk => reader.push(chunk))
  socket.on('error', () => {})
  const closed = new Promise<void>(resolve => socket.once('close', () => resolve()))
  let ids = 0

  const wait: AdminClient['wait'] = fits =>
    new Promise((resolve, reject) => {
      const look = () => {
        const at = frames.findIndex(frame => fits(frame.fields, frame.sip))
        if (at < 0) return
        clearTimeout(late)
        waiting.delete(look)
        resolve(frames.splice(at, 1)[0]!)
      }
      const late = setTimeout(() => {
        waiting.delete(look)
        reject(new Error(`nothing fitting came; untaken: ${frames.map(frame => frame.fields.join('|')).join(' ; ')}`))
      }, 3000)
      waiting.add(look)
      look()
    })

  return {
    socket,
    say(leader, sip) {
      const id = `m${++ids}`
      socket.write(encodeFrame(`${id}|${leader}`, sip === undefined ? undefined : Buffer.from(sip)))
      return id
    },
    wait,
    answer: async id => (await wait(fields => fields[1] === 'response' && fields[2] === id)).fields.slice(3),
    closed,
    close: () => socket.destroy(),
  }
}
