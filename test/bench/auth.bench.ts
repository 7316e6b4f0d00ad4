import { hash } from 'node:crypto'
import { createAuth } from '../../src/auth/auth.ts'
import { type Algorithm, computeResponse, parseDigest } from '../../src/auth/digest.ts'
import { createNonces } from '../../src/auth/nonce.ts'
import { createEvents } from '../../src/events.ts'

// CPU microseconds per right answer, each to a fresh nonce as phones do that register seldom.
const uri = 'sip:home.test'
const secret = Buffer.alloc(32, 1)
const config = { md5: true, md5Agents: [], nonceSeconds: 300, failures: 20, failureSeconds: 60, banSeconds: 300 }
const a1 = 'mum:home.test:right password'
const ha1 = { 'SHA-256': hash('sha256', a1), MD5: hash('md5', a1) }
const proof = { user: 'mum', enabled: true, ha1, ha1WithDomain: ha1 }
const auth = createAuth({ config, domains: ['home.test'], find: () => proof, secret, events: createEvents() })
const nonces = createNonces({ secret, seconds: 300, now: Date.now })

for (const algorithm of ['SHA-256', 'MD5', 'SHA-256', 'MD5'] as Algorithm[]) {
  const headers = Array.from({ length: 20_000 }, () => {
    const head = `Digest username="mum", realm="home.test", nonce="${nonces.make('192.0.2.1')}", uri="${uri}", algorithm=${algorithm}, qop=auth, nc=00000001, cnonce="c1"`
    const parsed = parseDigest(`${head}, response="x"`)
    if (!parsed) throw new Error('no digest')
    return `${head}, response="${computeResponse(parsed, { method: 'REGISTER' }, algorithm, ha1[algorithm])}"`
  })
  const start = process.cpuUsage()
  for (const header of headers) {
    await auth.check({ method: 'REGISTER', uri, authorization: [header], source: '192.0.2.1' }, 'www')
  }
  const used = process.cpuUsage(start)
  process.stdout.write(`${algorithm}: ${((used.user + used.system) / headers.length).toFixed(1)} µs\n`)
}
