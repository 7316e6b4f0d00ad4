import { setTimeout as wait } from 'node:timers/promises'
import { type Pair, startPair, until } from '../../support/pair.ts'
import { createPhone, type Phone, phoneSdp } from '../../support/phone.ts'
import { createUdpPeer } from '../../support/sip-peer.ts'
import { answerAtOnce, follow, registered } from './failover-phones.ts'

// A node with direct calls is killed with SIGKILL: what its phones notice, and when others can register and call again.

export async function gap(count: number): Promise<string[]> {
  const pair = await startPair({ settings: { VAARTHA_CALLS_MOST: '100000' } })
  try {
    const { domain } = pair.a
    const password = await pair.addUser('alice')
    const alice = await registered(pair.a, 'alice', password)
    const bob = await registered(pair.a, 'bob', await pair.addUser('bob'))
    const carols = await pair.addUser('carol')
    // Each call is another phone's on Alice's one port.
    const callers: Phone[] = []
    for (let n = 0; n < count; n++) {
      const one = createPhone({ peer: alice.peer, user: 'alice', domain, password })
      await Promise.all([one.call('bob'), answerAtOnce(bob.peer)])
      callers.push(one)
    }
    return await kill(pair, callers, bob, carols)
  } finally {
    await pair.close()
  }
}

async function kill({ a, b }: Pair, callers: Phone[], bob: Phone, carols: string): Promise<string[]> {
  const count = callers.length
  const alice = callers[0]!
  const to = b.ports.sip
  const one = follow(alice.peer, to, phoneSdp(bob.peer.port))
  const other = follow(bob.peer, to, phoneSdp(alice.peer.port))
  const peer = await createUdpPeer(to)
  const carol = createPhone({ peer, user: 'carol', domain: b.domain, password: carols })

  const killed = performance.now()
  const since = (when = killed) => Math.round(performance.now() - when)
  await a.kill()
  // Just after the death, and when the other node does not know of it yet.
  const tried = performance.now()
  const { status } = await carol.register(3600)
  const registeredIn = since(tried)
  if (status !== 200) throw new Error(`the standby refuses a registration: ${status}`)
  let tries = 0
  for (let answer = 0; answer !== 200; tries++) {
    if (tries > 0) await wait(100)
    answer = await carol.call('bob').then(
      ({ status: given }) => given,
      () => 0,
    )
    if (since() > 30_000) throw new Error(`no call passes: ${answer}`)
  }
  const passed = since()
  await carol.hangUp()
  await until(() => other.byes === 1)
  await until(() => one.asked >= count && other.asked >= count, 30_000)
  const asked = since()
  let lost = 0
  for (const [n, caller] of callers.entries()) {
    const { status: answer } = await caller.hangUp()
    // The other end has heard it as well.
    const heard = await until(() => other.byes > n + 1 - lost, 3000).then(
      () => true,
      () => false,
    )
    if (answer !== 200 || !heard) lost++
  }
  for (const phone of [alice, bob, carol]) phone.peer.close()
  return [
    '| a node is killed with SIGKILL, and the lease of each is the default | |',
    '| --- | --- |',
    `| direct calls, of which lost (not hung up by one side and heard by the other) | ${count}, ${lost} |`,
    `| phones that were told to send their media elsewhere (a gap for direct media) | ${one.moved + other.moved} |`,
    `| both phones of all of them have answered the other node, from SIGKILL on | ${(asked / 1000).toFixed(1)} s |`,
    `| a new registration at the other node, tried at once after SIGKILL, takes | ${registeredIn} ms |`,
    `| a new call to a phone of the dead node is answered, from SIGKILL on | ${(passed / 1000).toFixed(1)} s (try ${tries}) |`,
  ]
}
