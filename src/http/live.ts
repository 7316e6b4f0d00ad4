import type { FastifyInstance } from 'fastify'
import { Refusal } from '../errors.ts'
import type { Events, FactName } from '../events.ts'
import { closed, object, optional, type Static, string } from '../schema.ts'

// `true`: sent when no filter is given. One fact a SIP message would drown the rest, so it comes only by name.
const facts: Record<FactName, boolean> = {
  registered: true,
  unregistered: true,
  registerAnswered: true,
  authFailed: true,
  banned: true,
  callStarted: true,
  callRinging: true,
  callAnswered: true,
  callChanged: true,
  callEnded: true,
  callTaken: true,
  sipMessage: false,
  malformed: true,
  flowOpened: true,
  flowClosed: true,
  storeFailed: true,
  storeRecovered: true,
  redisAnswered: false,
  nodeChanged: true,
  elsewhere: false,
  drillChanged: true,
  addressesChanged: true,
  nameClaimed: true,
  nameConflict: true,
  certificateChanged: true,
  legOpened: true,
  legClosed: true,
  mediaStateChanged: true,
  workerDied: true,
  mediaPlaced: false,
  mediaMoved: true,
  mediaNodeLost: true,
  mixerChanged: true,
  meetingMoved: true,
  messageAnswered: true,
  messageDelivered: true,
  groupStarted: true,
  groupTaken: true,
  groupPassed: true,
  groupChanged: true,
  topologyChanged: true,
  groupEnded: true,
}

const mostClients = 32
// What may wait for one reader before it counts as too slow.
const mostWaitingBytes = 256 * 1024
const heartbeatMs = 15_000

/** What a client of the live view is written to. */
interface Sink {
  write(text: string): unknown
  destroy(): unknown
  readonly writableLength: number
}

export interface Live {
  /** Sends facts of these names to `sink` until the returned function is called. Refuses `too-busy`. */
  add(sink: Sink, names: readonly FactName[]): () => void
  close(): void
}

/** Facts as server-sent events: written once for all clients, and listened to only while somebody wants them. */
export function createLive(events: Events): Live {
  const wanted = new Map<FactName, { sinks: Set<Sink>; stop: () => void }>()
  const all = new Set<Sink>()
  let heartbeat: NodeJS.Timeout | undefined

  function send(sinks: Iterable<Sink>, text: string): void {
    for (const sink of sinks) {
      if (sink.writableLength > mostWaitingBytes) sink.destroy()
      else sink.write(text)
    }
  }

  function join(name: FactName, sink: Sink): void {
    let entry = wanted.get(name)
    if (entry === undefined) {
      const sinks = new Set<Sink>()
      const stop = events.on(name, fact => send(sinks, `event: ${name}\ndata: ${JSON.stringify(fact)}\n\n`))
      entry = { sinks, stop }
      wanted.set(name, entry)
    }
    entry.sinks.add(sink)
  }

  function leave(name: FactName, sink: Sink): void {
    const entry = wanted.get(name)
    entry?.sinks.delete(sink)
    if (entry?.sinks.size === 0) {
      entry.stop()
      wanted.delete(name)
    }
  }

  return {
    add(sink, names) {
      if (all.size >= mostClients) throw new Refusal('too-busy', 'too many live views are open')
      all.add(sink)
      for (const name of names) join(name, sink)
      heartbeat ??= setInterval(() => send(all, ': still here\n\n'), heartbeatMs).unref()
      return () => {
        all.delete(sink)
        for (const name of names) leave(name, sink)
        if (all.size > 0) return
        clearInterval(heartbeat)
        heartbeat = undefined
      }
    },
    close() {
      for (const sink of all) sink.destroy()
    },
  }
}

const query = object(
  {
    facts: optional(
      string({ maxLength: 500, description: 'Names of facts, by commas; all but sipMessage when left out.' }),
    ),
  },
  closed,
)

export function addLive(app: FastifyInstance, live: Live): void {
  app.get<{ Querystring: Static<typeof query> }>(
    '/api/events',
    { schema: { summary: 'What happens, as server-sent events', tags: ['live'], querystring: query } },
    (request, reply) => {
      const names = readNames(request.query.facts)
      const leave = live.add(reply.raw, names)
      reply.raw.on('close', leave)
      reply.hijack()
      for (const [name, value] of Object.entries(reply.getHeaders()))
        if (value !== undefined) reply.raw.setHeader(name, value)
      reply.raw.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' })
      reply.raw.write(': live\n\n')
    },
  )
}

function readNames(text: string | undefined): FactName[] {
  if (text === undefined) return (Object.keys(facts) as FactName[]).filter(name => facts[name])
  const names = [...new Set(text.split(',').map(name => name.trim()))]
  const unknown = names.filter(name => !Object.hasOwn(facts, name))
  if (unknown.length > 0) throw new Refusal('bad-request', `no such fact: ${unknown.join(', ')}`)
  return names as FactName[]
}
