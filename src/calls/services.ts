import { randomUUID } from 'node:crypto'
import type { Events } from '../events.ts'
import type { Media, RoomWish } from '../media/media.ts'
import type { CallRecord } from '../records/records.ts'
import type { CallView } from './context.ts'
import { type Party, reasonHeader } from './headers.ts'
import type { LocalDialog, LocalDialogs } from './local.ts'
import type { Incoming, Reply } from './sip.ts'

/** Addresses that this server answers itself, by their user part: everybody hears itself there, at once or after two seconds. */
const rooms: Readonly<Record<string, RoomWish['kind']>> = { echo: 'echo', '*43': 'echo', '*44': 'delay' }

export interface Services {
  /** Whether calls to this user are answered here. */
  has(user: string): boolean
  /** Answers an INVITE to such a user. Throws Refusal. */
  answer(user: string, req: Incoming, res: Reply, caller: Party): Promise<void>
  list(): CallView[]
  hangUp(id: string): boolean
}

export interface ServicesDeps {
  local: LocalDialogs
  media: Media | undefined
  domain: string
  events: Events
  records: { add(record: CallRecord): void }
  now(): number
}

interface Service {
  view: CallView
  dialog: LocalDialog
}

/** The echo and delay tests. */
export function createServices(deps: ServicesDeps): Services {
  const { local, media, domain, events, records, now } = deps
  const services = new Map<string, Service>()

  async function answer(user: string, req: Incoming, res: Reply, caller: Party): Promise<void> {
    const id = randomUUID()
    const [from, to] = [`sip:${caller.user}@${domain}`, `sip:${user}@${domain}`]
    const since = now()
    const dialog = await local.answer(req, res, caller, { near: id, label: { call: id } })
    const answered = now()
    const legs = [{ aor: from, userAgent: req.get('User-Agent') ?? '' }, { aor: to }]
    const times = { since: new Date(since).toISOString(), answered: new Date(answered).toISOString() }
    services.set(id, { dialog, view: { id, from, to, state: 'answered', ...times, recording: false, legs } })
    events.emit('callStarted', { id, from, to })
    events.emit('callAnswered', { id, from, to, ms: answered - since })
    dialog.once('ended', why => {
      services.delete(id)
      const ended = now()
      const seconds = Math.round((ended - answered) / 1000)
      const common = { id, from, to, result: 'answered', status: 200, seconds } as const
      events.emit('callEnded', common)
      const { since: started, answered: at } = times
      records.add({ ...common, started, answered: at, ended: new Date(ended).toISOString(), reason: why, legs })
    })
    try {
      await join(dialog, { kind: rooms[user] ?? 'echo', transient: true, label: { call: id } })
    } catch (error) {
      await dialog.bye(reasonHeader(503, 'No media'), 'no media')
      throw error
    }
  }

  async function join(dialog: LocalDialog, wish: RoomWish): Promise<void> {
    const room = await media?.open(wish)
    if (room !== undefined && !dialog.ended) await media?.join(dialog.leg, room)
  }

  return {
    has: user => Object.hasOwn(rooms, user.toLowerCase()),
    answer: (user, ...call) => answer(user.toLowerCase(), ...call),
    list: () => [...services.values()].map(({ view }) => view),
    hangUp(id) {
      const service = services.get(id)
      void service?.dialog.bye(reasonHeader(480, 'Ended by an operator'), 'ended by an operator')
      return service !== undefined
    },
  }
}
