import { rm } from 'node:fs/promises'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { Refusal } from '../../errors.ts'
import type { Logger } from '../../log.ts'
import type { AddressWatch } from '../../network/interfaces.ts'
import type { Media, MediaLoad } from '../media.ts'
import { createSession, type Session } from './session.ts'
import { type Asking, type Condition, type Hello, type HelloAnswer, type Json, toJson, verbs } from './wire.ts'

export interface ServeDeps {
  media: Media
  bus: Asking
  /** Of this start of the node. */
  life: string
  addresses: Pick<AddressWatch, 'current'>
  /** For recordings until they are fetched. */
  directory: string
  log: Logger
  /** How long a node that asks may be silent before what it has here ends. */
  forgetMs?: number
}

export interface MediaServing {
  /** Legs that other nodes have here. */
  legs(): number
  condition(): Condition
  /** Ends what the others have here. */
  close(): Promise<void>
}

const forgetMs = 15_000
// Who uses something here asks four times a second, and after 1.4 s of silence it has its parties sent to by another node:
// they would hear both.
const silentMs = 3000
const mostSessions = 64

/** Lets other nodes use this node's media over the bus. Each has a session, which ends with whoever asked for it. */
export function serveMedia(deps: ServeDeps): MediaServing {
  const { media, bus, life, addresses, log } = deps
  const sessions = new Map<string, { session: Session; from: string; heardAt: number }>()
  const load = createBusyness(media)
  const patience = deps.forgetMs ?? forgetMs
  // What a session of an earlier life has left is nobody's any more.
  void rm(deps.directory, { recursive: true, force: true }).catch((error: unknown) =>
    log.warn({ err: error }, 'old recordings of other nodes were not removed'),
  )

  const stops = [bus.answer(verbs.hello, hello), bus.answer(verbs.work, work)]
  const upkeep = setInterval(forget, Math.min(1000, patience / 2))
  upkeep.unref()

  async function hello(question: Json, from: string): Promise<Json> {
    const { session: id } = question as unknown as Hello
    const known = sessions.get(id)
    if (known !== undefined) known.heardAt = performance.now()
    else begin(id, from)
    return toJson({ known: known !== undefined, ...condition() } satisfies HelloAnswer)
  }

  function begin(id: string, from: string): void {
    if (sessions.size >= mostSessions) throw new Refusal('too-busy', 'too many nodes use the media of this one')
    const session = createSession({
      id,
      media,
      directory: join(deps.directory, id),
      tell: tellings => bus.ask(from, verbs.events, toJson(tellings), 2000),
      onDeaf: () => void end(id, 'it takes in nothing'),
      log: log.child({ asker: from }),
    })
    // Whoever begins anew has given up what it had here, and its parties must not hear it twice.
    for (const [old, one] of sessions) if (one.from === from) void end(old, 'its node has begun anew')
    sessions.set(id, { session, from, heardAt: performance.now() })
  }

  async function work(question: Json): Promise<Json> {
    const { session: id, number, verb, ...ask } = question as { session: string; number: number; verb: string }
    const one = sessions.get(id)
    if (one === undefined) throw new Refusal('media-unavailable', 'this media node does not know who asks')
    one.heardAt = performance.now()
    return one.session.work(number, verb, ask)
  }

  function forget(): void {
    const now = performance.now()
    for (const [id, { session, heardAt }] of sessions) {
      const most = session.legs() > 0 ? Math.min(silentMs, patience) : patience
      if (now - heardAt > most) void end(id, 'it is silent')
    }
  }

  async function end(id: string, why: string): Promise<void> {
    const one = sessions.get(id)
    if (one === undefined) return
    sessions.delete(id)
    const legs = one.session.legs()
    if (legs > 0) log.warn({ asker: one.from, legs, why }, 'what another node has here ends')
    await one.session.close()
  }

  const condition = (): Condition => ({
    life,
    state: media.state(),
    ...load(),
    addresses: addresses.current().map(({ address, prefix, internal }) => ({ address, prefix, internal })),
  })

  return {
    legs: () => [...sessions.values()].reduce((sum, { session }) => sum + session.legs(), 0),
    condition,
    async close() {
      clearInterval(upkeep)
      for (const stop of stops.splice(0)) stop()
      await Promise.all([...sessions.keys()].map(id => end(id, 'this node stops')))
    },
  }
}

/** Legs that a node is thought to carry, as long as its processors have not shown otherwise. */
const usualLegs = 2000
const windowMs = 1000
const freshMs = 50

/** The media's load, and how large a share of what this machine can do it is: by processor time, and by legs that have just come. */
export function createBusyness(media: Pick<Media, 'load'>, now = () => performance.now()) {
  const cores = availableParallelism()
  let known: { at: number; load: MediaLoad } | undefined
  const spentBy = (load: MediaLoad) => load.workers.reduce((sum, one) => sum + one.cpuSeconds, load.audioCpuSeconds)
  let looked = { at: now(), spent: 0 }
  let share = 0
  return (): { load: MediaLoad; busy: number } => {
    const at = now()
    // It is asked for each leg that is placed, and counts all of them.
    if (known === undefined || at - known.at > freshMs) known = { at, load: media.load() }
    const { load } = known
    if (at - looked.at >= windowMs) {
      const spent = spentBy(load)
      // A worker that died took its count with it.
      share = Math.max(0, spent - looked.spent) / ((at - looked.at) / 1000) / cores
      looked = { at, spent }
    }
    const legs = load.workers.reduce((sum, one) => sum + one.legs, load.ports)
    return { load, busy: Math.round((share + legs / usualLegs) * 1000) / 1000 }
  }
}
