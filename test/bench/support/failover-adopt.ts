import { setTimeout as wait } from 'node:timers/promises'
import { startPair, until } from '../../support/pair.ts'
import { phoneSdp } from '../../support/phone.ts'
import { answerAtOnce, follow, registered } from './failover-phones.ts'

/** How long so many calls of a node that is killed, each of two dialogs, take to be the other's. */
export async function adoption(many: number): Promise<string[]> {
  const pair = await startPair({ settings: { VAARTHA_CALLS_MOST: '100000' } })
  try {
    const alice = await registered(pair.a, 'alice', await pair.addUser('alice'))
    const bob = await registered(pair.a, 'bob', await pair.addUser('bob'))
    for (let n = 0; n < many; n++) {
      await Promise.all([alice.call('bob'), answerAtOnce(bob.peer)])
      // What nobody takes, such as each 100, would be looked through for every later message.
      for (const { peer } of [alice, bob]) peer.untaken().length = 0
    }
    // What was kept last has come to Redis.
    await wait(1000)
    const to = pair.b.ports.sip
    const one = follow(alice.peer, to, phoneSdp(bob.peer.port))
    const other = follow(bob.peer, to, phoneSdp(alice.peer.port))
    const killed = performance.now()
    await pair.a.kill()
    const seconds = () => ((performance.now() - killed) / 1000).toFixed(1)
    const took = () => /"calls":(\d+),"ms":(\d+),"msg":"calls taken over"/.exec(pair.b.log())
    await until(() => took() !== null, 60_000)
    const known = seconds()
    const [, calls = '', work = ''] = took() ?? []
    await until(() => one.asked >= many && other.asked >= many, 120_000)
    const all = seconds()
    for (const { peer } of [alice, bob]) peer.close()
    // Nobody would answer the BYEs of all of them.
    await pair.b.kill()
    return [
      '| a node with so many calls is killed with SIGKILL | |',
      '| --- | --- |',
      `| calls, dialogs | ${calls}, ${Number(calls) * 2} |`,
      `| taken over by the other node, from when it knows of the death | ${(Number(work) / 1000).toFixed(1)} s |`,
      `| the same, from SIGKILL on | ${known} s |`,
      `| every phone has answered the other node's re-INVITE, from SIGKILL on | ${all} s |`,
    ]
  } finally {
    await pair.close()
  }
}
