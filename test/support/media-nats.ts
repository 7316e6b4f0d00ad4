import { createDesk } from '../../src/cluster/desk.ts'
import { createDirectBus } from '../../src/cluster/direct-bus.ts'
import { createNatsBus } from '../../src/cluster/nats-bus.ts'
import { createSilentLog } from '../../src/log.ts'
import { startMediaOverBus, type TestMedia } from './media-room.ts'
import { type NatsServer, startNats } from './nats.ts'
import { until } from './pair.ts'

/** A media room that is asked over a real NATS. */
export async function startMediaOverNats(): Promise<TestMedia & { nats: NatsServer }> {
  const log = createSilentLog()
  const nats = await startNats()
  const peers: { node: string; link: string }[] = []
  const openBus = async (node: string) => {
    const desk = createDesk(log)
    const listen = { address: '127.0.0.1', port: 0 }
    const direct = await createDirectBus({ node, listen, secrets: ['x'.repeat(24)], peers: () => peers, desk, log })
    peers.push({ node, link: direct.link() })
    return { direct, bus: createNatsBus({ url: nats.url, name: 'media', node, direct, desk, log }) }
  }
  const [near, far] = [await openBus('near'), await openBus('far')]
  await until(() => near.bus.healthy() && far.bus.healthy(), 10_000)
  const room = await startMediaOverBus({ near: near.bus, far: far.bus, node: 'far' })
  return {
    ...room,
    nats,
    async close() {
      await room.close()
      for (const { bus, direct } of [near, far]) {
        await bus.close()
        await direct.close()
      }
      await nats.stop()
    },
  }
}
