import type { Logger } from '../../log.ts'
import type { RecordedFile, RecordingFiles } from '../media.ts'
import type { Host } from './hosts.ts'

/** A room on one host. */
interface Side {
  host: Host
  room: string
}

/** A recording of a room, in as many parts as the room had places. */
export interface Tape {
  /** Records there from now on; what was recorded before is fetched. */
  go(side: Side): Promise<void>
  /** Ends it and gives the files of all parts. */
  stop(): Promise<RecordedFile[]>
}

export function createTape(files: RecordingFiles, log: Logger, onEnd: (tape: Tape) => void): Tape {
  const parts: RecordedFile[] = []
  let current: { side: Side; stop: () => Promise<RecordedFile[]> } | undefined
  let begun = 0
  let stopped: Promise<RecordedFile[]> | undefined

  async function finish(): Promise<void> {
    const one = current
    current = undefined
    if (one === undefined) return
    try {
      parts.push(...(await one.stop()))
    } catch (error) {
      // What a node that has died had recorded is on its disk, if anywhere.
      log.error({ err: error, media: one.side.host.node, name: files.name }, 'a part of a recording is lost')
    }
  }

  const tape: Tape = {
    async go(side) {
      if (stopped !== undefined) return
      begun += 1
      const name = begun === 1 ? files.name : `${files.name}-${begun}`
      const before = current
      const stop = await side.host.media.record(side.room, { ...files, name })
      if (stopped !== undefined) {
        parts.push(...(await stop()))
        return
      }
      if (before !== undefined) await finish()
      current = { side, stop }
    },
    stop() {
      stopped ??= finish().then(() => {
        onEnd(tape)
        return parts
      })
      return stopped
    },
  }
  return tape
}
