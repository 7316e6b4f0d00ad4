import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { setTimeout as wait } from 'node:timers/promises'
import { type Pair, startPair, until } from '../support/pair.ts'
import { createRover, type Rover, type RoverOptions, type Talk } from '../support/rover.ts'
import type { TestServer } from '../support/server.ts'

// A rolling upgrade: each node of a pair is told to stop, ends, and is started again, while people call each other all the
// time and others talk on. Nothing may be lost.

interface Line {
  id: string
  from: string
  to: string
  answered?: string
}

type By = RoverOptions['by']

// Who calls whom, and by what. About five calls a second come of the first, the others talk all the time.
const short: [By, By][] = [
  ['outbound', 'outbound'],
  ['outbound', 'udp'],
  ['udp', 'outbound'],
  ['tcp', 'udp'],
  ['outbound', 'tcp'],
]
const long: [By, By][] = [
  ['outbound', 'outbound'],
  ['outbound', 'outbound'],
  ['udp', 'udp'],
  ['outbound', 'udp'],
  ['tcp', 'outbound'],
  ['udp', 'tcp'],
  // From here on the sound passes the server.
  ['outbound', 'outbound'],
  ['udp', 'udp'],
  ['udp', 'outbound'],
  ['tcp', 'tcp'],
]
const direct = 6
// What a call whose media moves to another node may miss.
const mostGapMs = 2000

let pair: Pair
const rovers: Rover[] = []
before(async () => {
  pair = await startPair()
})
after(async () => {
  for (const rover of rovers) rover.close()
  await pair?.close()
})

async function roverOf(user: string, by: By, sounds: boolean): Promise<Rover> {
  const password = await pair.addUser(user)
  const servers = [pair.a.ports.sip, pair.b.ports.sip]
  const rover = await createRover({ user, password, domain: pair.a.domain, servers, by, sounds })
  rovers.push(rover)
  await rover.registered()
  return rover
}

test('a pair is upgraded node by node under load, and nothing is lost', async t => {
  const pairs = async (name: string, kinds: [By, By][], sounds: boolean) =>
    await Promise.all(
      kinds.map(
        async ([one, other], n) =>
          [await roverOf(`${name}${n}a`, one, sounds), await roverOf(`${name}${n}b`, other, sounds)] as const,
      ),
    )
  const [callers, talkers] = [await pairs('short', short, false), await pairs('long', long, true)]

  const talks = await Promise.all(
    talkers.map(async ([one, other]) => {
      const { talk, status } = await one.call(other.user)
      assert.ok(talk, `a long call was refused with ${status}`)
      return talk
    }),
  )
  const endChatter = talkers.flat().map(({ rtp }) => rtp!.chatter())
  t.after(() => Promise.all(endChatter.map(end => end())))
  const lines = await pair.a.api<Line[]>('/api/calls')
  for (const [one] of talkers.slice(direct)) {
    const { id } = [...lines, ...(await pair.b.api<Line[]>('/api/calls'))].find(({ from }) => from.includes(one.user))!
    await Promise.any([pair.a, pair.b].map(node => node.api(`/api/calls/${id}/recording`, 'POST')))
  }

  const steps: string[] = []
  const began = performance.now()
  const clock = () => `${((performance.now() - began) / 1000).toFixed(1)} s (${steps.at(-1) ?? 'begin'})`
  const failures: string[] = []
  const made = new Map<string, number>()
  let going = true
  const calling = callers.map(async ([one, other]) => {
    for (let n = 0; going; n++) {
      const { talk, status, asked } = await one.call(other.user)
      if (talk === undefined) failures.push(`${one.user} to ${other.user}: ${status} after asking ${asked}, ${clock()}`)
      else {
        made.set(one.user, (made.get(one.user) ?? 0) + 1)
        await wait(500 + 300 * (n % 3))
        const ended = await talk.hangUp()
        if (ended !== 200) failures.push(`${one.user} hung up, and got ${ended}, ${clock()}`)
      }
      await wait(100)
    }
  })
  let missing = ''
  const users = rovers.map(({ user }) => user)
  const watching = (async () => {
    for (; going; await wait(500)) {
      for (const node of [pair.a, pair.b]) {
        const known = await registrations(node)
        const lost = known && users.filter(user => !known.some(({ aor }) => aor.includes(`:${user}@`)))
        if (lost && lost.length > 0) missing += ` ${lost} ${clock()}`
      }
    }
  })()

  const others = (node: TestServer) => (node === pair.a ? pair.b : pair.a)
  await wait(1000)
  for (const node of [pair.a, pair.b]) {
    const name = node === pair.a ? 'a' : 'b'
    steps.push(`${name} stops`)
    const since = performance.now()
    const heard = others(node).log().length
    assert.equal(await node.stop(), 0)
    const drained = performance.now() - since
    steps.push(`${name} is away`)
    await pair.restart(node)
    steps.push(`${name} is back`)
    t.diagnostic(
      `${name}: drained in ${(drained / 1000).toFixed(1)} s, up again ${((performance.now() - since) / 1000).toFixed(1)} s after SIGTERM`,
    )
    assert.match(node.log(), /"left":0/)
    // Every phone is to have its flow to this one again before the next one goes.
    await Promise.all(rovers.map(rover => rover.registered()))
    await wait(1500)
    // What `vaartha nodes` and the status page show at the other one; a busy machine makes a node suspect now and then.
    const states = statesOf(name, others(node).log().slice(heard)).filter(state => !/suspect|joining/.test(state))
    assert.deepEqual([...new Set(states)], ['draining', 'down', 'up'])
  }
  going = false
  await Promise.all([...calling, watching])
  const count = [...made.values()].reduce((sum, one) => sum + one, 0)
  t.diagnostic(`${count} calls in ${((performance.now() - began) / 1000).toFixed(0)} s`)
  assert.deepEqual(failures, [])
  assert.equal(missing, '')

  for (const [n, talk] of talks.entries()) {
    const [one, other] = talkers[n]!
    assert.ok(!talk.isOver() && other.talks.size === 1, `the long call ${n} (${long[n]}) was lost`)
    const gaps = [one, other].map(rover => longestGap(rover))
    t.diagnostic(`${n < direct ? 'direct' : 'relayed'} ${long[n]}: at most ${gaps.join(' and ')} ms without sound`)
    if (n >= direct) assert.ok(Math.max(...gaps) < mostGapMs, `a gap of ${Math.max(...gaps)} ms`)
  }
  const hangsUp = talks.map((talk, n) => (n % 2 === 0 ? talk : [...talkers[n]![1].talks][0]!))
  const stays = talks.map((talk, n): Talk => (n % 2 === 0 ? [...talkers[n]![1].talks][0]! : talk))
  assert.deepEqual(await Promise.all(hangsUp.map(talk => talk.hangUp())), long.map(() => 200)) // biome-ignore format: short
  await Promise.all(stays.map(talk => Promise.race([talk.over, wait(5000).then(() => assert.fail('no BYE came'))])))

  for (const node of [pair.a, pair.b]) {
    const answered = async () => (await node.api<Line[]>('/api/history?limit=1000')).filter(line => line.answered)
    await until(async () => (await answered()).length >= count + long.length, 10_000)
    const records = await answered()
    assert.equal(new Set(records.map(({ id }) => id)).size, records.length)
    assert.equal(records.length, count + long.length, 'each call is there once')
    const known = (await registrations(node))!
    const flows = (of: Rover) => known.filter(({ aor, flow }) => aor.includes(`:${of.user}@`) && flow).length
    const odd = rovers.filter(rover => flows(rover) !== (rover.by === 'outbound' ? 2 : 1))
    assert.deepEqual(odd.map(({ user }) => user), []) // biome-ignore format: short
  }
})

/** What a node said of another one, in its order. */
function statesOf(node: string, log: string): string[] {
  const lines = log.split('\n').filter(line => line.includes('"msg":"node changed state"'))
  return lines
    .map(line => JSON.parse(line) as { node: string; state: string })
    .flatMap(one => (one.node === node ? one.state : []))
}

/** Ms between two packets of sound, but for those of the first second. */
function longestGap({ rtp }: Rover): number {
  const heard = rtp!.sounds()
  const first = heard[0]?.at ?? 0
  return Math.round(heard.reduce((most, { at }, n) => (at - first < 1000 ? most : Math.max(most, at - heard[n - 1]!.at)), 0)) // biome-ignore format: short
}

/** Undefined while that node does not answer. */
async function registrations(node: TestServer): Promise<{ aor: string; flow: string }[] | undefined> {
  try {
    return (await node.api<{ bindings: { aor: string; flow: string }[] }>('/api/registrations?limit=1000')).bindings
  } catch {
    return undefined
  }
}
