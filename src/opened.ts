import type { Logger } from './log.ts'

/** What has been opened, to be closed in the other order. */
export interface Opened {
  /** Remembers a room, and gives it back. */
  own<T extends { close(): unknown }>(name: string, room: T): T
  /** Last opened, first closed; what fails to close is logged and the rest is closed all the same. Idempotent. */
  close(): Promise<void>
}

export function createOpened(log: Logger): Opened {
  const opened: { name: string; close: () => unknown }[] = []
  let closing: Promise<void> | undefined

  async function closeAll(): Promise<void> {
    for (const { name, close } of opened.toReversed()) {
      try {
        await close()
      } catch (error) {
        log.error({ err: error, room: name }, 'failed to close')
      }
    }
  }

  return {
    own(name, room) {
      opened.push({ name, close: () => room.close() })
      return room
    },
    close() {
      closing ??= closeAll()
      return closing
    },
  }
}
