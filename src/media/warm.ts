import { Refusal } from '../errors.ts'
import type { Logger } from '../log.ts'
import type { Media } from './media.ts'

// What carries media is started for the first leg, and that takes a second or two. A node that has others beside it would
// lose that time when one of them dies and its calls come here, so it starts the audio thread and a worker before.

interface Seen {
  node: string
  state: string
}

export interface WarmDeps {
  media: Pick<Media, 'allocate' | 'release'>
  members: {
    /** This node's name. */
    node: string
    list(): readonly Seen[]
    onChange(listener: (member: Seen) => void): () => void
  }
  /** An address of ours. */
  towards: string
  log: Logger
  /** After another node has come up; then this one has finished its own start. */
  delayMs?: number
}

/** Makes a leg of each kind and releases it again, once, when another node is up. */
export function warmBeside({ media, members, towards, log, delayMs = 3000 }: WarmDeps): { close(): void } {
  let timer: NodeJS.Timeout | undefined

  async function warm(): Promise<void> {
    try {
      for (const profile of ['plain', 'webrtc'] as const) {
        const { leg } = await media.allocate({ profile, towards, label: {} })
        await media.release(leg)
      }
      log.info('ready to carry the media of a node that dies')
    } catch (error) {
      // Without a worker, or while the server stops, there is nothing to be ready with.
      if (!(error instanceof Refusal)) log.error({ err: error }, 'media could not be started beforehand')
      else log.info({ why: error.message }, 'media is not started beforehand')
    }
  }

  const look = ({ node, state }: Seen) => {
    if (node === members.node || state !== 'up' || timer !== undefined) return
    stop()
    timer = setTimeout(() => void warm(), delayMs)
    timer.unref()
  }
  const stop = members.onChange(look)
  // The node that comes second has seen the first one up before there was any media.
  for (const member of members.list()) look(member)
  return {
    close() {
      stop()
      clearTimeout(timer)
    },
  }
}
