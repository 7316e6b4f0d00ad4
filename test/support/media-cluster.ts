import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createDirectBus, type DirectBus } from '../../src/cluster/direct-bus.ts'
import { Refusal } from '../../src/errors.ts'
import { createEvents, type Events } from '../../src/events.ts'
import { createLog } from '../../src/log.ts'
import type { LegEvent, Media } from '../../src/media/media.ts'
import type { MediaMember } from '../../src/media/nodes/hosts.ts'
import { createOrchestrator, type Orchestrator } from '../../src/media/nodes/orchestrator.ts'
import { serveMedia } from '../../src/media/nodes/serve.ts'
import { verbs } from '../../src/media/nodes/wire.ts'
import { watchAddresses } from '../../src/network/interfaces.ts'
import { createSdpPhone, type SdpPhone, startMedia, type TestMedia } from './media-room.ts'

// A SIP node without media of its own and two media nodes, all in one process: real rooms, and a real bus on loopback.

export interface TestMediaNode {
  readonly name: string
  readonly room: TestMedia
  /** Nothing of it answers any more, and its sound is gone. */
  die(): Promise<void>
  /** It takes questions, and answers none. */
  hang(): void
}

export interface MediaCluster {
  readonly media: Orchestrator
  readonly events: Events
  readonly nodes: readonly [TestMediaNode, TestMediaNode]
  say(node: string, state: MediaMember['state']): void
  /** The SIP node is cut off, and says nothing to anybody any more. */
  cut(): Promise<void>
  close(): Promise<void>
}

export async function startMediaCluster(options: { forgetMs?: number } = {}): Promise<MediaCluster> {
  const log = createLog({ level: process.env['VAARTHA_TEST_LOG'] ?? 'silent', format: 'json' })
  const peers: { node: string; link: string }[] = []
  const listen = { address: '127.0.0.1', port: 0 }
  const openBus = async (node: string) => {
    const bus = await createDirectBus({ node, listen, secrets: ['x'.repeat(24)], peers: () => peers, log })
    peers.push({ node, link: bus.link() })
    return bus
  }
  const members = new Map<string, MediaMember>()
  const listeners = new Set<() => void>()
  const say = (node: string, state: MediaMember['state']) => {
    members.set(node, { node, life: `${node}-1`, state, roles: node === 's' ? ['sip'] : ['media'], weight: 1 })
    for (const listener of listeners) listener()
  }
  const addresses = watchAddresses({ listen: ['127.0.0.1'], include: [] })
  const closing: (() => unknown)[] = [() => addresses.close()]
  const base = 20_600 + (process.pid % 7) * 1500
  const startNode = async (name: string, at: number): Promise<TestMediaNode> => {
    const room = await startMedia({ base: base + at * 750 })
    const directory = mkdtempSync(join(tmpdir(), 'vaartha-media-'))
    const bus = await openBus(name)
    const serving = serveMedia({ media: room.media, bus, life: `${name}-1`, addresses, directory, log, ...options })
    say(name, 'up')
    const die = async () => {
      await bus.close()
      await serving.close()
      await room.close()
    }
    closing.push(die, () => rmSync(directory, { recursive: true, force: true }))
    const hang = () => {
      for (const verb of Object.values(verbs)) bus.answer(verb, () => new Promise(() => {}))
    }
    return { name, room, die, hang }
  }
  const bus: DirectBus = await openBus('s')
  say('s', 'up')
  const nodes = [await startNode('m', 0), await startNode('n', 1)] as const
  const events = createEvents()
  const media = createOrchestrator({
    ...{ local: undefined, bus, addresses, events, log, patienceMs: 2000 },
    members: {
      node: 's',
      list: () => [...members.values()],
      onChange(listener) {
        listeners.add(listener)
        return () => listeners.delete(listener)
      },
      onDeath: () => () => {},
    },
  })
  closing.push(
    () => bus.close(),
    () => media.close(),
  )
  return {
    media,
    events,
    nodes: [nodes[0], nodes[1]],
    say,
    cut: () => bus.close(),
    async close() {
      for (const close of closing.toReversed()) await close()
    },
  }
}

/** What was asked of a leg that has ended meanwhile. */
function refused(error: unknown): void {
  if (!(error instanceof Refusal)) throw error
}

/** A phone whose owner follows its media as a call does: what is asked of it becomes a re-INVITE that it answers at once. */
export interface Follower {
  readonly phone: SdpPhone
  readonly leg: string
  readonly events: LegEvent[]
  /** How many offers of ours it has answered. */
  offers: number
  /** It answers our offers when this has resolved. */
  patience: Promise<void>
}

export async function openFollower(media: Media, tone: number): Promise<Follower> {
  const phone = await createSdpPhone({ tone })
  const events: LegEvent[] = []
  let one: Follower | undefined
  let asking = Promise.resolve()
  const ask = async () => {
    if (one === undefined) return
    const offer = await media.offer(one.leg)
    await one.patience
    const answer = phone.sdp()
    phone.take(offer)
    await media.answer(one.leg, answer)
    one.offers += 1
  }
  const { leg, sdp } = await media.allocate({
    profile: 'plain',
    towards: '127.0.0.1',
    offer: phone.sdp(),
    near: 'one',
    onEvent(event) {
      events.push(event)
      if (event.type === 'more' || event.type === 'rebuilt') asking = asking.then(ask).catch(refused)
    },
  })
  phone.take(sdp)
  one = { phone, leg, events, offers: 0, patience: Promise.resolve() }
  return one
}
