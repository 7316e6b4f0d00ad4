import assert from 'node:assert/strict'
import { it } from 'node:test'
import type { Binding, LocationStore } from '../../src/location/store.ts'
import { someBinding } from '../support/bindings.ts'
import { openSharedNode, type SharedNode } from '../support/shared-store.ts'

const ann = 'sip:ann@example.org'
const live = (other: Partial<Binding> = {}) => someBinding({ expiresAt: Date.now() + 60_000, ...other })

/** Resolves when the store has told a state of that address in which `holds` is true. */
export async function until(store: LocationStore, aor: string, holds: (bindings: readonly Binding[]) => boolean) {
  const seen = Promise.withResolvers<void>()
  const off = store.onChanged!((changed, bindings) => {
    if (changed === aor && holds(bindings)) seen.resolve()
  })
  if (holds((await store.load(aor)).bindings)) seen.resolve()
  await seen.promise
  off()
}

export const contacts = async (store: LocationStore, aor = ann) =>
  (await store.load(aor)).bindings.map(({ contact }) => contact).sort()

/** What two nodes on one Redis do. */
export function sharedLocationContract(where: () => { redis: string; prefix: string }): void {
  async function opened(work: (a: SharedNode, b: SharedNode, open: () => Promise<SharedNode>) => Promise<void>) {
    const place = where()
    const nodes: SharedNode[] = []
    const open = async () => {
      const node = await openSharedNode(place)
      nodes.push(node)
      return node
    }
    try {
      await work(await open(), await open(), open)
    } finally {
      for (const node of nodes) await node.close()
    }
  }

  it('each node has what the others save, at once and when it comes later', () =>
    opened(async (a, b, open) => {
      await a.save(ann, 0, [live()])
      await until(b, ann, bindings => bindings.length === 1)
      assert.equal(await b.count(), 1)
      const late = await open()
      assert.deepEqual(await contacts(late), ['sip:ann@192.0.2.7:5060'])
      const { version } = await late.load(ann)
      assert.equal(await late.save(ann, version, []), true)
      for (const node of [a, b]) await until(node, ann, bindings => bindings.length === 0)
      assert.equal(await a.save(ann, 0, [live()]), true)
      await until(b, ann, bindings => bindings.length === 1)
    }))

  it('of two nodes that save the same state at once one wins, and the other sees its state', () =>
    opened(async (a, b) => {
      for (let n = 0; n < 50; n++) {
        const aor = `sip:user${n}@example.org`
        const mine = (node: string) => [live({ aor, contact: `sip:${node}@192.0.2.1` })]
        const won = await Promise.all([a.save(aor, 0, mine('a')), b.save(aor, 0, mine('b'))])
        assert.deepEqual([...won].sort(), [false, true])
        const loser = won[0] ? b : a
        const { version, bindings } = await loser.load(aor)
        assert.equal(bindings.length, 1)
        assert.equal(await loser.save(aor, version, [...bindings, live({ aor, contact: 'sip:late@192.0.2.1' })]), true)
        for (const node of [a, b]) await until(node, aor, present => present.length === 2)
      }
    }))

  it('a node that changes much loses nothing of another that does too', () =>
    opened(async (a, b) => {
      const add = async (node: SharedNode, contact: string) => {
        for (;;) {
          const { version, bindings } = await node.load(ann)
          if (await node.save(ann, version, [...bindings, live({ contact })])) return
        }
      }
      const all: string[] = []
      for (let n = 0; n < 20; n++) all.push(`sip:a${n}@192.0.2.1`, `sip:b${n}@192.0.2.1`)
      const from = (sign: string) => all.filter(contact => contact.startsWith(`sip:${sign}`))
      const work = async (node: SharedNode, sign: string) => {
        for (const contact of from(sign)) await add(node, contact)
      }
      await Promise.all([work(a, 'a'), work(b, 'b')])
      for (const node of [a, b]) {
        await until(node, ann, bindings => bindings.length === all.length)
        assert.deepEqual(await contacts(node), all.toSorted())
      }
    }))
}
