import { EventEmitter } from 'node:events'
import type { Others } from '../../src/calls/survival.ts'
import type { Json } from '../../src/cluster/bus.ts'
import type { Member } from '../../src/cluster/members.ts'
import type { Kept, Replication, Strategy } from '../../src/cluster/replication.ts'
import { Refusal } from '../../src/errors.ts'
import type { Media } from '../../src/media/media.ts'
import { createEngineDialogs } from '../../src/sip/engine-dialogs.ts'
import { type CallsUnderTest, startCalls } from './calls.ts'
import type { EngineUnderTest } from './engine.ts'

// Nodes that share what their calls are kept in, in one process: the rules of src/cluster/replication.ts, and no network.

interface Item extends Kept {
  owner: string
  fence: number
}

export interface SharedCalls {
  /** Starts the calls of one more node; `media` carries what cannot go directly there. */
  node(life: string, media?: Media): Promise<CallsUnderTest>
  /** Its process is gone: everybody hears it, and it may do nothing any more. */
  dies(life: string): void
  /** It is paused: nobody hears that yet, and it may do nothing any more. */
  pauses(life: string): void
  /** A paused one wakes up, and hears what it has lost. */
  wakes(life: string): void
  /** What is kept, by id. */
  readonly items: ReadonlyMap<string, Item>
  /** How often somebody took one over. */
  readonly taken: number
}

/** With a secret each node may send its requests by the flows of the others. */
export function createSharedCalls(strategy: Strategy, secret?: string): SharedCalls {
  const items = new Map<string, Item>()
  const ended = new Set<string>()
  const [dead, paused] = [new Set<string>(), new Set<string>()]
  const lives = new Map<string, Member>()
  const deaths = new EventEmitter()
  const losses = new EventEmitter()
  const answers = new Map<string, (question: Json, from: string) => Promise<Json>>()
  let taken = 0

  function replication(life: string): Replication {
    const lost = new Set<string>()
    const take = (item: Item) => {
      const from = item.owner
      losses.emit(from, item.id, life)
      Object.assign(item, { owner: life, fence: item.fence + 1 })
      lost.delete(item.id)
      taken++
      return { ...item, from }
    }
    losses.on(life, id => lost.add(id))
    return {
      strategy,
      async save(kept) {
        if (ended.has(kept.id) || paused.has(life)) return
        const item = items.get(kept.id) ?? { ...kept, owner: life, fence: 1 }
        if (item.owner === life) items.set(kept.id, Object.assign(item, kept))
      },
      async end(_kind, id) {
        const ours = items.get(id)?.owner === life && !dead.has(life)
        if (ours) {
          items.delete(id)
          ended.add(id)
        }
        return ours
      },
      owns: (_kind, id) => !lost.has(id) && !paused.has(life) && !dead.has(life),
      sure: async (_kind, id) => !lost.has(id) && !paused.has(life),
      async release(_kind, id) {
        const item = items.get(id)
        if (item?.owner !== life) return false
        item.owner = 'nobody'
        lost.add(id)
        return true
      },
      async takeOver(dialog) {
        const item = [...items.values()].find(({ dialogs }) => dialogs.includes(dialog))
        if (item === undefined) return undefined
        return item.owner === 'nobody' || dead.has(item.owner) ? take(item) : { owner: item.owner }
      },
      async *adopt(from) {
        for (const item of items.values()) if (item.owner === from && dead.has(from)) yield take(item)
      },
      onLost(listener) {
        const heard = (id: string) => {
          const owner = items.get(id)?.owner ?? ''
          if (owner !== life && owner !== 'nobody') listener('call', id, owner)
        }
        losses.on(`wakes ${life}`, heard)
        return () => losses.off(`wakes ${life}`, heard)
      },
      healthy: () => true,
      close: async () => undefined,
    }
  }

  function others(life: string, { srf, tcp }: EngineUnderTest): Others {
    const sip = secret === undefined ? '' : `sip:127.0.0.1:${tcp};transport=tcp`
    const self = { node: life, life, state: 'up', roles: ['sip'], priority: 10, sip } as unknown as Member
    lives.set(life, self)
    return {
      patienceMs: 300,
      replication: replication(life),
      dialogs: createEngineDialogs(srf, '+dialogs')!,
      members: {
        life,
        self: () => self,
        list: () => [...lives.values()],
        find: one => lives.get(one),
        onDeath(listener) {
          const heard = (member: Member) => member.life === life || listener(member)
          deaths.on('dead', heard)
          return () => deaths.off('dead', heard)
        },
      },
      bus: {
        async ask(node, verb, question) {
          const how = answers.get(`${node} ${verb}`)
          if (how === undefined) throw new Refusal('node-unavailable')
          return how(question, life)
        },
        answer(verb, how) {
          answers.set(`${life} ${verb}`, how)
          return () => answers.delete(`${life} ${verb}`)
        },
      },
    }
  }

  return {
    node(life, media) {
      const cluster = secret === undefined ? {} : { cluster: { life, secrets: [secret] } }
      const carried = media === undefined ? {} : { media }
      return startCalls({}, { life, others: engine => others(life, engine), ...cluster, ...carried })
    },
    dies(life) {
      dead.add(life)
      const member = { ...lives.get(life)!, state: 'down', seen: Date.now() } as const
      lives.set(life, member)
      deaths.emit('dead', member)
    },
    pauses: life => void paused.add(life),
    wakes(life) {
      paused.delete(life)
      for (const id of items.keys()) losses.emit(`wakes ${life}`, id)
    },
    items,
    get taken() {
      return taken
    },
  }
}
