import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import type Srf from 'drachtio-srf'
import { startEngineUnderTest } from '../support/engine.ts'

// CPU time of the engine and an unmodified drachtio-srf in one process, load from another over UDP loopback: a REGISTER
// answered 200 by a handler that does nothing else, and a whole B2BUA call (INVITE to BYE on both legs).

const server = await startEngineUnderTest({ t1: 500 })
const srf = server.srf as unknown as Record<
  string,
  (handler: (req: Srf.SrfRequest, res: Srf.SrfResponse) => void) => void
>
let failed = 0
srf['register']!((req, res) => res.send(200, { headers: { Contact: req.get('Contact'), Expires: '3600' } }))
srf['invite']!(async (req, res) => {
  try {
    const { uas, uac } = await server.srf.createB2BUA(req, res, req.uri, {})
    uas.on('destroy', () => void uac.destroy())
    uac.on('destroy', () => void uas.destroy())
  } catch {
    failed++
  }
})

const load = fileURLToPath(new URL('engine-load.ts', import.meta.url))
async function run(what: string, lanes: number, ms: number): Promise<number> {
  const { stdout } = await promisify(execFile)(process.execPath, [load, what, `${server.udp}`, `${lanes}`, `${ms}`])
  return Number(stdout)
}

for (const [what, lanes, target] of [
  ['register', 8, 0.17],
  ['call', 8, 1.6],
] as const) {
  await run(what, lanes, 1000)
  const cpu = process.cpuUsage()
  const done = await run(what, lanes, 2500)
  const { user, system } = process.cpuUsage(cpu)
  const each = ((user + system) / 1000 / done).toFixed(3)
  const rate = Math.round(done / 2.6).toLocaleString('en')
  process.stdout.write(`${what}: ${done} (${rate}/s), ${each} CPU ms each, target ${target} ms\n`)
}
if (failed > 0) process.stdout.write(`${failed} calls failed\n`)
await server.close()
process.exit(0)
