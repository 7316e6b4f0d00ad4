import { announce, type ServiceInfo } from '../../src/discovery/discovery.ts'
import { createEvents } from '../../src/events.ts'
import { createLog } from '../../src/log.ts'
import { watchAddresses } from '../../src/network/interfaces.ts'

// A program that announces itself until SIGTERM, for tests that run it on a host of its own. Its facts go to the output.

const settings = JSON.parse(process.argv[2]!) as { name: string; nodeId: string; services: ServiceInfo[] }
const say = (text: string) => process.stdout.write(`${text}\n`)
const events = createEvents()
events.onAny((name, fact) => say(`${name} ${JSON.stringify(fact)}`))
const log = createLog({ level: 'debug', format: 'json' })
const addresses = watchAddresses({ listen: [], include: [] }, 100)
// In the server other rooms keep the process alive while the network refuses a socket and discovery waits to try again.
const alive = setInterval(() => {}, 1000)
const discovery = await announce({ ...settings, addresses, events, log })
process.once('SIGTERM', async () => {
  addresses.close()
  await discovery.close()
  clearInterval(alive)
  say('closed')
})
process.on('SIGHUP', () => discovery.update([{ type: 'vaartha', protocol: 'tcp', port: 9999 }]))
// Last, because a test may end this program as soon as it reads that.
say(`ready ${discovery.name()}`)
