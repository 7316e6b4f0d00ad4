import assert from 'node:assert/strict'
import { afterEach, beforeEach, mock, test } from 'node:test'
import { Shape, type ShapePort } from '../../../src/groups/mesh.ts'
import type { RosterTopology } from '../../../src/groups/roster.ts'
import { decodeMeeting, encodeMeeting, type MeetingSnapshot } from '../../../src/groups/snapshot.ts'

// A meeting of clients that do what docs/meetings.md tells them, on a clock that the test holds.

const none: ReadonlySet<number> = new Set()

class Play {
  readonly told: RosterTopology[] = []
  readonly changes: string[] = []
  /** Legs that carry media. */
  readonly flowing = new Set<number>()
  /** Members whose client does not take a re-INVITE. */
  readonly stubborn = new Set<number>()
  readonly flows: string[] = []
  /** While it is there, re-INVITEs are answered when it resolves. */
  slow: Promise<void> | undefined
  serverNeeded = false
  readonly shape = new Shape({
    limits: () => ({ meshMost: 8, meshBack: 6, serverNeeded: this.serverNeeded }),
    publish: topology => this.told.push(topology),
    flow: async (member, on) => {
      this.flows.push(`${member} ${on ? 'on' : 'off'}`)
      await this.slow
      if (this.stubborn.has(member)) return false
      if (on) this.flowing.add(member)
      else this.flowing.delete(member)
      return true
    },
    changed: ({ from, to, rolledBack }) => this.changes.push(`${from} ${to}${rolledBack ? ' rolled back' : ''}`),
    failed: error => assert.fail(String(error)),
  } satisfies ShapePort)

  get now(): RosterTopology {
    return this.shape.topology
  }

  get text(): string {
    const { shape, state, members } = this.now
    return `${shape} ${state}${members.length === 0 ? '' : ` ${members.join(' ')}`}`
  }

  come(...ids: number[]): void {
    for (const id of ids) {
      this.flowing.add(id)
      this.shape.add(id, { mesh: true, plain: false })
    }
  }

  connect(...ids: number[]): void {
    const { epoch, members } = this.now
    for (const id of ids) {
      const connected = new Set(members.filter(other => other !== id))
      this.shape.report(id, { epoch, connected, failed: none, ready: false })
    }
  }

  ready(...ids: number[]): void {
    for (const id of ids) {
      this.shape.report(id, { epoch: this.now.epoch, connected: none, failed: none, ready: true })
    }
  }

  /** A settled mesh whose legs rest. */
  async mesh(...ids: number[]): Promise<void> {
    this.come(...ids)
    await pass(1000)
    this.connect(...ids)
    await pass(2000)
    assert.equal(this.text, `${ids.length === 2 ? 'direct' : 'mesh'} settled ${ids.join(' ')}`)
    assert.equal(this.flowing.size, 0)
    this.told.length = this.changes.length = this.flows.length = 0
  }
}

/** Lets time go by, and what has come due be done. */
async function pass(ms: number): Promise<void> {
  mock.timers.tick(ms)
  for (let i = 0; i < 20; i++) await Promise.resolve()
}

let play: Play
beforeEach(() => {
  mock.timers.enable({ apis: ['setTimeout', 'Date'], now: 1_000_000 })
  play = new Play()
})
afterEach(() => {
  play.shape.close()
  mock.timers.reset()
})

test('two browsers talk directly once both have told so, and their legs rest two seconds later', async () => {
  play.come(1)
  play.come(2)
  assert.equal(play.text, 'sfu settled')
  await pass(799)
  assert.equal(play.text, 'sfu settled')
  await pass(1)
  assert.equal(play.text, 'direct preparing 1 2')
  play.connect(1)
  assert.equal(play.text, 'direct preparing 1 2')
  play.connect(2)
  assert.equal(play.text, 'direct settled 1 2')
  await pass(1999)
  assert.deepEqual(play.flows, [])
  await pass(1)
  assert.deepEqual(play.flows, ['1 off', '2 off'])
  assert.deepEqual(play.changes, ['sfu direct'])
})

test('who comes to a mesh is heard through the SFU first, then all mesh anew', async () => {
  await play.mesh(1, 2)
  play.come(3)
  assert.equal(play.text, 'sfu preparing')
  await pass(0)
  assert.deepEqual(play.flows, ['1 on', '2 on'])
  play.ready(1)
  assert.equal(play.text, 'sfu preparing')
  play.ready(2)
  assert.equal(play.text, 'sfu settled')
  await pass(800)
  assert.equal(play.text, 'mesh preparing 1 2 3')
  play.connect(1, 2, 3)
  assert.equal(play.text, 'mesh settled 1 2 3')
  assert.deepEqual(play.changes, ['direct sfu', 'sfu mesh'])
})

test('the ninth takes all to the SFU, and the legs carry before anything else ends', async () => {
  await play.mesh(1, 2, 3, 4, 5, 6, 7, 8)
  play.come(9)
  await pass(0)
  assert.equal(play.flowing.size, 9)
  assert.equal(play.text, 'sfu preparing')
  play.ready(1, 2, 3, 4, 5, 6, 7, 8)
  assert.equal(play.text, 'sfu settled')
  await pass(60_000)
  assert.equal(play.text, 'sfu settled')
  for (const id of [9, 8, 7]) play.shape.remove(id)
  await pass(9999)
  assert.equal(play.text, 'sfu settled')
  await pass(1)
  assert.equal(play.text, 'mesh preparing 1 2 3 4 5 6')
})

test('who leaves a mesh does not shake the others', async () => {
  await play.mesh(1, 2, 3)
  const { epoch } = play.now
  play.shape.remove(2)
  assert.equal(play.text, 'direct settled 1 3')
  assert.equal(play.now.epoch, epoch + 1)
  assert.deepEqual(play.flows, [])
  play.shape.remove(1)
  await pass(0)
  assert.deepEqual(play.flows, ['3 on'])
})

test('a mesh that is not built within ten seconds is rolled back whole and tried again, later each time', async () => {
  play.come(1, 2, 3)
  await pass(1000)
  const { epoch } = play.now
  play.connect(1, 2)
  await pass(10_000)
  assert.equal(play.text, 'sfu settled')
  assert.equal(play.now.epoch, epoch + 1)
  assert.deepEqual(play.changes, ['sfu mesh rolled back'])
  assert.equal(play.flowing.size, 3)
  for (const later of [8000, 16_000, 32_000, 60_000, 60_000]) {
    await pass(later - 1)
    assert.equal(play.text, 'sfu settled')
    await pass(1)
    assert.equal(play.text, 'mesh preparing 1 2 3')
    await pass(10_000)
  }
  play.come(4)
  await pass(1000)
  await pass(10_000)
  assert.equal(play.text, 'sfu settled')
  await pass(8000)
  assert.equal(play.text, 'mesh preparing 1 2 3 4')
})

test('a mesh whose pairs come one after the other is waited for, but not for ever', async () => {
  play.come(1, 2, 3)
  await pass(1000)
  for (const connected of [[2], [2, 3]]) {
    await pass(9000)
    play.shape.report(1, { epoch: play.now.epoch, connected: new Set(connected), failed: new Set(), ready: false })
    assert.equal(play.text, 'mesh preparing 1 2 3')
  }
  await pass(9000)
  play.shape.report(2, { epoch: play.now.epoch, connected: new Set([1]), failed: new Set(), ready: false })
  assert.equal(play.text, 'mesh preparing 1 2 3')
  await pass(2999)
  assert.equal(play.text, 'mesh preparing 1 2 3')
  await pass(201)
  assert.equal(play.text, 'sfu settled')
})

test('a failed pair rolls back at once', async () => {
  play.come(1, 2, 3)
  await pass(1000)
  play.shape.report(2, { epoch: play.now.epoch, connected: new Set([1]), failed: new Set([3]), ready: false })
  assert.equal(play.text, 'sfu settled')
})

test('the way to the SFU is rolled back when a client does not follow: the mesh plays on', async () => {
  await play.mesh(1, 2, 3)
  play.stubborn.add(2)
  play.come(4)
  await pass(0)
  assert.equal(play.text, 'mesh settled 1 2 3')
  assert.deepEqual(play.changes, ['mesh sfu rolled back'])
  await pass(2000)
  assert.deepEqual([...play.flowing], [4])
  play.stubborn.delete(2)
  await pass(3000)
  assert.equal(play.text, 'sfu preparing')
})

test('so it is when a client does not tell that it is ready', async () => {
  await play.mesh(1, 2, 3)
  play.come(4)
  await pass(0)
  play.ready(1, 2)
  await pass(10_000)
  assert.equal(play.text, 'mesh settled 1 2 3')
  await pass(2000)
  assert.deepEqual([...play.flowing], [4])
})

test('a leg that was asked to rest again while it was still waking up rests, and is woken anew', async () => {
  await play.mesh(1, 2, 3)
  let answer = () => {}
  play.slow = new Promise(resolve => {
    answer = resolve
  })
  play.come(4)
  play.shape.noteFlowing(1)
  await pass(10_000)
  assert.equal(play.text, 'mesh settled 1 2 3')
  await pass(2000)
  assert.deepEqual(play.flows, ['1 on', '2 on', '3 on', '1 off'])
  play.slow = undefined
  answer()
  await pass(0)
  await pass(3000)
  assert.equal(play.text, 'sfu preparing')
  assert.ok(play.flows.slice(4).includes('1 on'))
})

test('what the server plays waits until everybody is on the SFU, but not for ever', async () => {
  let heard = 0
  const listen = () => play.shape.onSfu().then(() => heard++)
  void listen()
  await pass(0)
  assert.equal(heard, 1)
  await play.mesh(1, 2)
  play.serverNeeded = true
  play.shape.check()
  void listen()
  await pass(0)
  assert.equal(heard, 1)
  play.ready(1, 2)
  await pass(0)
  assert.equal(heard, 2)
  play.serverNeeded = false
  play.shape.check()
  await pass(11_000)
  play.connect(1, 2)
  assert.equal(play.text, 'direct settled 1 2')
  void listen()
  await pass(10_000)
  assert.equal(heard, 3)
})

test('who comes while a mesh is being built begins it anew; who leaves does too', async () => {
  play.come(1, 2)
  await pass(1000)
  play.connect(1)
  play.come(3)
  assert.equal(play.text, 'sfu settled')
  await pass(800)
  assert.equal(play.text, 'mesh preparing 1 2 3')
  play.shape.remove(1)
  assert.equal(play.text, 'direct preparing 2 3')
  play.connect(2, 3)
  assert.equal(play.text, 'direct settled 2 3')
  assert.deepEqual(play.changes, ['sfu direct'])
})

test('reports of another epoch are left out', async () => {
  play.come(1, 2)
  await pass(1000)
  const old = play.now.epoch
  play.come(3)
  await pass(1000)
  for (const id of [1, 2, 3]) {
    play.shape.report(id, { epoch: old, connected: new Set([1, 2, 3]), failed: none, ready: true })
  }
  assert.equal(play.text, 'mesh preparing 1 2 3')
})

test('a pair of a settled mesh that breaks takes the meeting to the SFU', async () => {
  await play.mesh(1, 2, 3)
  play.shape.report(1, { epoch: play.now.epoch, connected: new Set([2]), failed: new Set([3]), ready: false })
  await pass(0)
  play.ready(1, 2, 3)
  assert.equal(play.text, 'sfu settled')
  await pass(60_000)
  assert.equal(play.text, 'sfu settled')
  await pass(10_000)
  assert.equal(play.text, 'mesh preparing 1 2 3')
})

test('a recording needs the server', async () => {
  await play.mesh(1, 2, 3)
  play.serverNeeded = true
  play.shape.check()
  await pass(0)
  play.ready(1, 2, 3)
  assert.equal(play.text, 'sfu settled')
  play.serverNeeded = false
  play.shape.check()
  await pass(10_000)
  assert.equal(play.text, 'mesh preparing 1 2 3')
})

test('only members of the mesh, now or to be, may call each other directly', async () => {
  await play.mesh(1, 2)
  play.come(3)
  const { epoch } = play.now
  assert.equal(play.shape.pairs(1, 2, epoch), true)
  assert.equal(play.shape.pairs(1, 3, epoch), false)
  assert.equal(play.shape.pairs(1, 1, epoch), false)
  assert.equal(play.shape.pairs(1, 2, epoch + 1), false)
})

test('whatever happens, everybody has a way to everybody that was told, and legs rest only in a mesh', async () => {
  for (let seed = 1; seed <= 30; seed++) {
    const random = createRandom(seed)
    const pick = <T>(list: readonly T[]): T | undefined => list[Math.floor(random() * list.length)]
    const present: number[] = []
    let [next, seen] = [1, 0]
    play.shape.close()
    play = new Play()
    for (let step = 0; step < 120; step++) {
      const one = pick(present)
      const dice = random()
      if (dice < 0.12 && present.length < 10) {
        present.push(next)
        play.come(next++)
      } else if (dice < 0.2 && one !== undefined) {
        present.splice(present.indexOf(one), 1)
        play.flowing.delete(one)
        play.shape.remove(one)
      } else if (dice < 0.25 && one !== undefined) {
        if (!play.stubborn.delete(one)) play.stubborn.add(one)
      } else if (dice < 0.28 && one !== undefined) {
        const failed = new Set([pick(present)!])
        play.shape.report(one, { epoch: play.now.epoch, connected: none, failed, ready: false })
      } else if (dice < 0.55) play.connect(...present)
      else if (dice < 0.8) play.ready(...present)
      await pass(pick([0, 100, 1000, 3000, 11_000])!)
      const now = play.now
      const meshed = now.state === 'preparing' ? lastMesh(play.told) : now.members
      for (const id of present) {
        const rests = !play.flowing.has(id)
        assert.ok(!rests || meshed.includes(id), `seed ${seed} step ${step}: ${id} rests in ${play.text}`)
      }
      for (const [at, told] of play.told.entries()) {
        const before = play.told[at - 1]
        if (before === undefined || at < seen) continue
        const follows = told.state === 'settled' && before.state === 'preparing' && told.shape === before.shape
        assert.ok(told.epoch === before.epoch + (follows && told.epoch === before.epoch ? 0 : 1), `seed ${seed}`)
      }
      seen = play.told.length
    }
  }
})

/** Members of the mesh that was told as settled last; none after the SFU. */
function lastMesh(told: readonly RosterTopology[]): readonly number[] {
  return told.findLast(one => one.state === 'settled')?.members ?? []
}

/** The same numbers for the same seed (a linear congruential generator). */
function createRandom(seed: number): () => number {
  let state = seed
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return state / 2 ** 32
  }
}

test('a closed shape does nothing more', async () => {
  play.come(1, 2)
  play.shape.close()
  await pass(60_000)
  assert.equal(play.told.length, 0)
})

test('a mesh that comes from another node stays one while its members come, and their legs rest again', async () => {
  play.shape.goOn({ settled: 'mesh', meshed: [1, 2, 3], epoch: 7 })
  for (const id of [1, 2, 3]) play.shape.restore(id, { mesh: true, plain: false })
  play.shape.check()
  assert.equal(play.text, 'mesh settled 1 2 3')
  assert.equal(play.now.epoch, 8)
  assert.ok(play.shape.pairs(1, 2, 8))
  for (const id of [1, 2, 3]) play.shape.came(id)
  mock.timers.tick(2000)
  assert.deepEqual(play.flows, ['1 off', '2 off', '3 off'])
  assert.equal(play.text, 'mesh settled 1 2 3')
})

test('who did not come with a mesh from another node is left out of it', () => {
  play.shape.goOn({ settled: 'mesh', meshed: [1, 2, 3], epoch: 7 })
  for (const id of [1, 3]) play.shape.restore(id, { mesh: true, plain: false })
  play.shape.check()
  assert.equal(play.text, 'direct settled 1 3')
})

test('a meeting that was small again for six seconds goes back to a mesh four seconds after it has come to another node', async () => {
  play.come(1, 2, 3)
  play.serverNeeded = true
  play.shape.check()
  await pass(1000)
  play.serverNeeded = false
  play.shape.check()
  await pass(6000)
  const other = new Play()
  other.shape.goOn(play.shape.snapshot())
  for (const id of [1, 2, 3]) other.shape.restore(id, { mesh: true, plain: false })
  play.shape.close()
  other.shape.check()
  for (const id of [1, 2, 3]) other.shape.came(id)
  await pass(3900)
  assert.equal(other.text, 'sfu settled')
  await pass(200)
  assert.equal(other.text, 'mesh preparing 1 2 3')
  other.shape.close()
})

test('whatever has happened: what is kept of a shape is the same again after it has come to another node', async () => {
  // A generator of its own makes each run the same one (numbers of Park and Miller).
  let seed = 7
  const random = (below: number) => (seed = (seed * 48_271) % 2_147_483_647) % below
  const seen = new Set<string>()
  for (let run = 0; run < 60; run++) {
    const one = new Play()
    const inside = new Set<number>()
    const any = () => [...inside][random(Math.max(1, inside.size))] ?? 0
    for (let step = 0, next = 1; step < 25; step++) {
      const what = random(7)
      if (what < 2) inside.add(next) && one.come(next++)
      else if (what === 2) inside.delete(any()) && one.shape.remove(any())
      else if (what === 3) one.connect(...inside)
      else if (what === 4)
        one.shape.report(any(), { ...one.now, connected: none, failed: new Set([any()]), ready: false })
      else if (what === 5) one.shape.setMesh(any(), random(2) === 0)
      else one.serverNeeded = random(4) === 0
      one.shape.check()
      await pass([10, 900, 3000, 12_000][random(4)]!)
    }
    const kept = one.shape.snapshot()
    const was: MeetingSnapshot = {
      ...{ id: '1', user: 'u', displayName: 'U', group: undefined, began: 1, locked: false, recording: false },
      ...{ lastId: 9, peak: 9, were: [], members: [...inside], shape: kept },
    }
    const read = decodeMeeting(encodeMeeting(was)!)
    assert.ok(read)
    const other = new Play()
    other.shape.goOn(read.shape)
    assert.deepEqual(other.shape.snapshot(), { ...kept, epoch: kept.epoch + 1 })
    seen.add(`${kept.settled} ${kept.tried?.choice.why} ${kept.tried?.brokenUntil !== 0}`)
    one.shape.close()
    other.shape.close()
  }
  assert.ok(seen.size > 5, [...seen].join('; '))
})
