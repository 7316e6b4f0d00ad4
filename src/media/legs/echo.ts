import { Refusal } from '../../errors.ts'
import type { Leg } from './leg.ts'
import { keyOf, type Room, type RoomDeps } from './room.ts'
import { createTurns } from './turns.ts'

/** A room in which everybody hears only itself, `delayMs` later. */
export function createEcho(deps: RoomDeps, delayMs: number): Room {
  const { audio } = deps
  const inTurn = createTurns()
  const legs = new Map<Leg, string>()

  const arrange = (leg: Leg) =>
    inTurn(async () => {
      const voice = leg.voice()
      const key = keyOf(leg)
      if (legs.get(leg) === key || !legs.has(leg)) return
      legs.set(leg, key)
      if (voice !== undefined) await audio.echo(voice.end, delayMs)
    })

  const remove = (leg: Leg) =>
    inTurn(async () => {
      const voice = leg.voice()
      if (legs.delete(leg) && voice !== undefined) await audio.unlink(voice.end)
    })

  return {
    id: deps.id,
    transient: deps.transient,
    legs: () => [...legs.keys()],
    async add(leg) {
      legs.set(leg, '')
      await arrange(leg)
    },
    remove,
    changed: arrange,
    mixed: () => undefined,
    speaker() {},
    slot() {},
    reset() {
      for (const leg of legs.keys()) legs.set(leg, '')
    },
    mix: () => Promise.reject(new Refusal('not-acceptable-here', 'Nobody hears others in an echo')),
    async unmix() {},
    async close() {
      await Promise.all([...legs.keys()].map(remove))
    },
  }
}
