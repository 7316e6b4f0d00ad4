import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { connect, createServer } from 'node:tls'
import { openCertificates } from '../../../src/certificates/certificates.ts'
import { Refusal } from '../../../src/errors.ts'
import { createEvents } from '../../../src/events.ts'
import { createSilentLog } from '../../../src/log.ts'

const folder = mkdtempSync(join(tmpdir(), 'vaartha-certificates-'))
after(() => rmSync(folder, { recursive: true }))
let count = 0

function options(more: Partial<Parameters<typeof openCertificates>[0]> = {}) {
  const directory = join(folder, String(++count))
  return {
    directory,
    cert: '',
    key: '',
    names: () => ['vaartha.local', '127.0.0.1', '::1'],
    log: createSilentLog(),
    events: createEvents(),
    ...more,
  }
}

/** Connects to a TLS server with this certificate and checks it by name, trusting only `ca`; undefined or the error code. */
async function checkedBy(
  material: { key: string; cert: string },
  ca: string,
  servername: string,
): Promise<string | undefined> {
  const server = createServer({ key: material.key, cert: material.cert }, socket => socket.end()).listen(0, '127.0.0.1')
  server.on('tlsClientError', () => {})
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  const socket = connect({ port, host: '127.0.0.1', ca, ...(servername === '' ? {} : { servername }) })
  try {
    await once(socket, 'secureConnect')
    return undefined
  } catch (error) {
    return (error as NodeJS.ErrnoException).code
  } finally {
    socket.destroy()
    server.close()
  }
}

test('the certificate is trusted by its authority, by name and by address, and by nobody else', async () => {
  const certificates = await openCertificates(options())
  const other = await openCertificates(options())
  const [material, ca] = [certificates.current(), certificates.caPem()!]
  assert.equal(await checkedBy(material, ca, 'vaartha.local'), undefined)
  assert.equal(await checkedBy(material, ca, ''), undefined)
  assert.equal(await checkedBy(material, ca, 'another.local'), 'ERR_TLS_CERT_ALTNAME_INVALID')
  assert.notEqual(await checkedBy(material, other.caPem()!, 'vaartha.local'), undefined)
  certificates.close()
  other.close()
})

test('files are for their owner only, and a second start uses them', async () => {
  const same = options()
  const first = await openCertificates(same)
  for (const name of ['ca.crt', 'ca.key', 'server.crt', 'server.key']) {
    assert.equal(statSync(join(same.directory, name)).mode & 0o777, 0o600)
  }
  assert.equal(statSync(same.directory).mode & 0o777, 0o700)
  const second = await openCertificates(same)
  assert.equal(second.current().cert, first.current().cert)
  first.close()
  second.close()
})

test('a new address makes a new certificate of the same authority, and listeners hear of it', async () => {
  const names = ['vaartha.local']
  const certificates = await openCertificates(options({ names: () => names }))
  const [before, ca] = [certificates.current(), certificates.caPem()]
  let heard = 0
  certificates.onChange(() => heard++)
  await certificates.renew()
  assert.equal(certificates.current(), before)
  names.push('fd00:0:0::5')
  await certificates.renew()
  assert.deepEqual([heard, certificates.current().names, certificates.caPem()], [1, ['vaartha.local', 'fd00::5'], ca])
  certificates.close()
})

test('a certificate that ends within 30 days is replaced', async () => {
  const clock = { now: Date.now() }
  const certificates = await openCertificates(options({ now: () => clock.now }))
  const before = certificates.current()
  clock.now += 370 * 86_400_000
  await certificates.renew()
  assert.notEqual(certificates.current().cert, before.cert)
  assert.ok(Date.parse(certificates.current().notAfter) > clock.now + 300 * 86_400_000)
  certificates.close()
})

test('files of the operator are used, and reloaded when both have changed', async () => {
  const [one, two] = [await openCertificates(options()), await openCertificates(options())]
  const [cert, key] = [join(folder, 'own.crt'), join(folder, 'own.key')]
  const write = (from: { cert: string; key: string }) => {
    writeFileSync(cert, from.cert)
    writeFileSync(key, from.key)
  }
  write(one.current())
  const certificates = await openCertificates(options({ cert, key }))
  assert.deepEqual([certificates.current().ownAuthority, certificates.caPem()], [false, undefined])
  // Half of a new pair: the old one goes on.
  writeFileSync(cert, two.current().cert)
  await certificates.renew()
  assert.equal(certificates.current().cert, one.current().cert)
  write(two.current())
  await certificates.renew()
  assert.equal(certificates.current().cert, two.current().cert)
  for (const each of [one, two, certificates]) each.close()
})

test('files that make no sense are refused with a reason', async () => {
  const [cert, key] = [join(folder, 'bad.crt'), join(folder, 'bad.key')]
  const refused = async (more: object, text: RegExp) =>
    assert.rejects(
      openCertificates(options(more)),
      (e: unknown) => e instanceof Refusal && e.code === 'bad-config' && text.test(e.message),
    )
  await refused({ cert }, /belong together/)
  await refused({ cert, key }, /is not there/)
  writeFileSync(cert, 'hello')
  writeFileSync(key, 'hello')
  await refused({ cert, key }, /no PEM/)
  const [one, two] = [await openCertificates(options()), await openCertificates(options())]
  writeFileSync(cert, one.current().cert)
  writeFileSync(key, two.current().key)
  await refused({ cert, key }, /does not belong/)
  one.close()
  two.close()
})

test('a lost or torn file is made anew, and the server starts', async () => {
  const same = options()
  const first = await openCertificates(same)
  first.close()
  for (const damage of [
    () => rmSync(join(same.directory, 'server.key')),
    () => writeFileSync(join(same.directory, 'server.crt'), '-----BEGIN'),
  ]) {
    const before = readFileSync(join(same.directory, 'server.crt'), 'utf8')
    damage()
    const next = await openCertificates(same)
    assert.notEqual(next.current().cert, before)
    assert.equal(next.caPem(), first.caPem())
    assert.equal(readFileSync(join(same.directory, 'server.key'), 'utf8'), next.current().key)
    next.close()
  }
  rmSync(join(same.directory, 'ca.key'))
  const anew = await openCertificates(same)
  assert.notEqual(anew.caPem(), first.caPem())
  assert.equal(await checkedBy(anew.current(), anew.caPem()!, 'vaartha.local'), undefined)
  anew.close()
})

test('a clock in the past does not make certificates that have ended when it is right', async () => {
  const certificates = await openCertificates(options({ now: () => 0 }))
  assert.ok(Date.parse(certificates.current().notAfter) > Date.UTC(2027, 0, 1))
  certificates.close()
})
