import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { complete } from '../../../src/config/load.ts'
import { createEvents } from '../../../src/events.ts'
import { createJournal } from '../../../src/location/journal.ts'
import { createMemoryStore } from '../../../src/location/memory.ts'
import { createWatchdog } from '../../../src/location/watchdog.ts'
import { createSilentLog } from '../../../src/log.ts'
import { watchAddresses } from '../../../src/network/interfaces.ts'
import { createRegistrar } from '../../../src/registrar/registrar.ts'
import { installRoutes } from '../../../src/routes.ts'
import { sameUriText } from '../../../src/sip/engine/message/uri.ts'
import { connectSip } from '../../../src/sip/link.ts'

// A program of its own: the server's engine, routes, registrar and journal, but with an auth that believes everybody,
// which the real server has no setting for. Only for the benchmark's row without digest.

const [port = '', domain = ''] = process.argv.slice(2)
const config = complete({ domain, sip: { udp: Number(port), tcp: 0, tls: 0 }, network: { listen: ['127.0.0.1'] } })
const events = createEvents()
const log = createSilentLog()
const folder = mkdtempSync(join(tmpdir(), 'vaartha-open-'))
const node = 'open'
const journal = createJournal({ path: join(folder, 'registrations.journal'), log, events })
const store = createMemoryStore({ now: Date.now, journal })
const location = createWatchdog({ store, node, events, log, now: Date.now })
location.start()
const addresses = watchAddresses(config.network)
const link = await connectSip(config.sip, { addresses, allowed: () => true, resolve: () => [], events, log })
const registrar = createRegistrar({
  location,
  config: config.registrar,
  domain,
  node,
  gruuKey: Buffer.alloc(32),
  events,
  now: Date.now,
  sameUri: sameUriText,
})
const none = () => Promise.reject(new Error('there are no calls here'))
installRoutes({
  srf: link.srf,
  auth: {
    async check(request) {
      const [, user = ''] = (request.authorization[0] ?? '').split(' ')
      return { ok: true, user, domain, algorithm: 'MD5' }
    },
  },
  messaging: { message: none },
  registrar,
  calls: { invite: none, outOfDialog: none },
  groups: {
    takes: async () => false,
    invite: none,
    subscribe: none,
    meshHeaders: async () => undefined,
    passed: () => undefined,
  },
  account: async () => undefined,
  isOwn: () => true,
  domain,
  log,
})
process.stdout.write('ready\n')
process.once('SIGTERM', async () => {
  await link.close()
  await location.close()
  addresses.close()
  rmSync(folder, { recursive: true, force: true })
})
