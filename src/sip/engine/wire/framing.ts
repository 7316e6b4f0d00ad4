// Frames of the drachtio admin protocol: decimal length in bytes, '#', payload. No separator between frames.

const hash = 0x23

/** The stream can not be cut into frames any more; close the connection. */
export class FramingError extends Error {
  override readonly name = 'FramingError'
}

export interface FrameReader {
  /** Takes bytes as they come and calls back once for each whole payload. Throws FramingError. */
  push(chunk: Buffer): void
}

/**
 * Cuts a byte stream into payloads of at most `most` bytes. Payloads are views of the received bytes: a frame that came
 * in one piece is never copied, one that came in many is joined once.
 */
export function createFrameReader(onFrame: (payload: Buffer) => void, most: number): FrameReader {
  let pieces: Buffer[] = []
  let held = 0
  // Bytes still missing of the payload; -1 while the length is being read.
  let wanted = -1
  let length = 0
  let digits = 0

  function readLength(chunk: Buffer, start: number): number {
    for (let at = start; at < chunk.length; at++) {
      const byte = chunk[at]!
      if (byte === hash) {
        if (digits === 0 || length === 0) throw new FramingError('a frame without a length')
        wanted = length
        length = 0
        digits = 0
        return at + 1
      }
      if (byte < 0x30 || byte > 0x39) throw new FramingError('a frame length that is no number')
      length = length * 10 + byte - 0x30
      digits++
      if (length > most || digits > 12) throw new FramingError(`a frame above ${most} bytes`)
    }
    return chunk.length
  }

  return {
    push(chunk) {
      let at = 0
      while (at < chunk.length) {
        if (wanted < 0) at = readLength(chunk, at)
        if (wanted < 0) return
        const end = Math.min(chunk.length, at + wanted - held)
        const part = chunk.subarray(at, end)
        at = end
        if (held + part.length < wanted) {
          if (part.length > 0) pieces.push(part)
          held += part.length
          return
        }
        const payload = pieces.length === 0 ? part : Buffer.concat([...pieces, part], wanted)
        pieces = []
        held = 0
        wanted = -1
        onFrame(payload)
      }
    },
  }
}

/** One frame: the leader and, after CRLF, the message. */
export function encodeFrame(leader: string, message?: Buffer): Buffer {
  const leaderBytes = Buffer.byteLength(leader)
  const size = leaderBytes + (message === undefined ? 0 : 2 + message.length)
  const head = `${size}#${leader}${message === undefined ? '' : '\r\n'}`
  const headBytes = head.length - leader.length + leaderBytes
  const frame = Buffer.allocUnsafe(headBytes + (message?.length ?? 0))
  frame.write(head, 0)
  message?.copy(frame, headBytes)
  return frame
}
