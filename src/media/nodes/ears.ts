import { Refusal } from '../../errors.ts'
import { type Asking, type Tellings, type Told, verbs } from './wire.ts'

/** Hears what media nodes tell, for all sessions of this node. */
export interface Ears {
  /** The returned function ends that. */
  listen(session: string, listener: (told: Told) => void): () => void
  close(): void
}

export function createEars(bus: Asking): Ears {
  const sessions = new Map<string, { listener: (told: Told) => void; next: number }>()
  const stop = bus.answer(verbs.events, async question => {
    const { session, from, all } = question as unknown as Tellings
    const one = sessions.get(session)
    if (one === undefined) throw new Refusal('no-such-call', 'there is no such media session')
    for (const told of all.slice(Math.max(0, one.next - from))) {
      one.next += 1
      one.listener(told)
    }
    return null
  })
  return {
    listen(session, listener) {
      sessions.set(session, { listener, next: 0 })
      return () => sessions.delete(session)
    },
    close: stop,
  }
}
