import { shareName } from '../../src/discovery/shared.ts'
import { createEvents } from '../../src/events.ts'
import { createLog } from '../../src/log.ts'
import { watchAddresses } from '../../src/network/interfaces.ts'

// A node that shares a name with others, for tests on hosts of its own: SIGUSR2 changes whether it is its turn.

const settings = JSON.parse(process.argv[2]!) as { name: string; nodeId: string; ours: boolean }
const events = createEvents()
events.onAny((name, fact) => process.stdout.write(`${name} ${JSON.stringify(fact)}\n`))
const log = createLog({ level: 'debug', format: 'json' })
const addresses = watchAddresses({ listen: [], include: [] }, 100)
const alive = setInterval(() => {}, 1000)
let { ours } = settings
const listeners = new Set<() => void>()
const shared = shareName(
  { name: settings.name, nodeId: settings.nodeId, addresses, events, log },
  {
    isOurs: () => ours,
    onChange(listener) {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
  },
)
process.on('SIGUSR2', () => {
  ours = !ours
  for (const listener of listeners) listener()
})
process.once('SIGTERM', async () => {
  addresses.close()
  await shared.close()
  clearInterval(alive)
  process.stdout.write('closed\n')
})
process.stdout.write('running\n')
