import type { RefusalCode } from '../../errors.ts'
import type { AudioEvent } from './audio.ts'
import type { AudioHost } from './host.ts'
import type { PortRange } from './sockets.ts'

// What the main thread and the audio thread say to each other: numbered requests, their answers, and events.

export type Method = Exclude<keyof AudioHost, 'close'>

export interface Request {
  id: number
  method: Method | 'close'
  args: unknown[]
}

export type Reply =
  | { id: number; result: unknown }
  | { id: number; refusal: { code: RefusalCode; message: string } }
  | { id: number; bug: Error }
  | { event: AudioEvent }
  /** The first of all: whether packets of meetings are read by calls of our own, or each by Node's sockets. */
  | { sockets: 'direct' | 'node' }

export interface ThreadOptions {
  rtpPorts: PortRange
  trunkPorts: PortRange
  silentMs?: number | undefined
  opus?: { complexity: number; bitrate: number } | undefined
  /** Counted up, and notified, after each request that can not wait for 100 ms. */
  bell: Int32Array
}
