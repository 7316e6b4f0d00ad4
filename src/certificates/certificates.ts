import { createPrivateKey, randomBytes, X509Certificate } from 'node:crypto'
import { chmod, mkdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises'
import { isIP } from 'node:net'
import { join } from 'node:path'
import { Refusal } from '../errors.ts'
import type { Events } from '../events.ts'
import type { Logger } from '../log.ts'

/** What TLS servers present: PEM texts, `cert` with its chain. */
export interface Material {
  readonly key: string
  readonly cert: string
  /** ISO 8601. */
  readonly notAfter: string
  /** Names and addresses of the server certificate. */
  readonly names: readonly string[]
  /** True when this server's own local authority has signed it. */
  readonly ownAuthority: boolean
}

export interface Certificates {
  current(): Material
  /** The local authority's certificate, for people who want to trust it; undefined with a certificate of the operator's. */
  caPem(): string | undefined
  /** Calls `listener` when another certificate holds; open connections are not touched. The returned function ends that. */
  onChange(listener: () => void): () => void
  /** Makes a new certificate when names are missing from the present one or its end is near. */
  renew(): Promise<void>
  close(): void
}

export interface CertificateOptions {
  /** Where the local authority keeps its files. */
  directory: string
  /** PEM files of the operator's own certificate; both empty for the local authority. */
  cert: string
  key: string
  /** Names and addresses that phones use now. */
  names(): readonly string[]
  /** With other nodes: which authority all go by, as text. Rejects while that cannot be known. */
  agree?(good: (text: string) => boolean, ours: () => Promise<string>): Promise<string>
  /** Nobody can have come to trust this node's own authority yet, so that the one of the others may take its place. */
  replaceable?: boolean
  log: Logger
  events: Events
  now?(): number
  /** How often files and the end date are looked at, in ms. */
  everyMs?: number
}

const day = 86_400_000
const renewBeforeMs = 30 * day
// An authority must outlive what it signs.
const authorityRestMs = 400 * day

interface Pair {
  cert: string
  key: string
}

/** Opens the operator's certificate, or makes a local authority and a certificate for every name (owner-only files). */
export async function openCertificates(options: CertificateOptions): Promise<Certificates> {
  const { cert, key, log, events, everyMs = 60_000 } = options
  if ((cert === '') !== (key === ''))
    throw new Refusal('bad-config', 'certificates.cert and certificates.key belong together: set both or none')
  const source = cert === '' ? await openAuthority(options) : await openFiles(options)
  const listeners = new Set<() => void>()
  let current = source.current()
  // One look at a time: two changes at once must not make two certificates.
  let looking: Promise<void> = Promise.resolve()

  async function look(): Promise<void> {
    await source.look()
    const next = source.current()
    if (next === current) return
    current = next
    log.info({ names: next.names, notAfter: next.notAfter }, 'certificate changed')
    events.emit('certificateChanged', { names: [...next.names], notAfter: next.notAfter })
    for (const listener of listeners) listener()
  }
  const renew = () => {
    looking = looking.then(look).catch(error => log.warn({ err: error }, 'certificate kept as it is'))
    return looking
  }
  const timer = setInterval(renew, everyMs)
  timer.unref()
  return {
    current: () => current,
    caPem: () => source.caPem,
    onChange(listener) {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
    renew,
    close: () => clearInterval(timer),
  }
}

interface Source {
  current(): Material
  readonly caPem: string | undefined
  /** Looks whether another certificate is due. Rejects when it cannot be had; the present one stays. */
  look(): Promise<void>
}

// A Raspberry Pi without a network starts in 1970; what it signs then would long have ended when the clock is right.
const earliest = Date.UTC(2026, 0, 1)

async function openAuthority(options: CertificateOptions): Promise<Source> {
  const { directory, log } = options
  const now = () => Math.max(earliest, (options.now ?? Date.now)())
  await mkdir(directory, { recursive: true, mode: 0o700 })
  await chmod(directory, 0o700)
  const file = (name: string) => join(directory, name)
  let authority: Pair | undefined
  let agreed = options.agree === undefined
  let material: Material | undefined

  /** The kept pair, when it is whole and has `restMs` to go. A torn or lost file is no reason not to start. */
  const kept = async (name: string, restMs: number) => {
    const pair = await readPair(file(`${name}.crt`), file(`${name}.key`))
    if (pair === undefined) return undefined
    try {
      const described = describe(pair, true)
      return Date.parse(described.notAfter) - now() > restMs ? described : undefined
    } catch (error) {
      log.warn({ err: error, file: file(name) }, 'damaged certificate is made anew')
      return undefined
    }
  }

  const make = async () => {
    const { makeAuthority } = await import('./authority.ts')
    return await makeAuthority(randomBytes(2).toString('hex'), now())
  }
  const sayNew = () => log.warn('a new local authority was made: devices that trusted another one must trust this one')

  /** The authority of this node: its own, or the one that all nodes go by. */
  const findAuthority = async (own: Pair | undefined): Promise<Pair> => {
    if (options.agree === undefined) {
      const fresh = await make()
      sayNew()
      return keepPair(file('ca.crt'), file('ca.key'), fresh)
    }
    let made: Pair | undefined
    const isGood = (text: string) => {
      const pair = readShared(text)
      return pair !== undefined && Date.parse(pair.notAfter) - now() > authorityRestMs
    }
    let shared: Pair
    try {
      const text = await options.agree(isGood, async () => {
        made = own === undefined ? await make() : undefined
        return JSON.stringify(plainPair(own ?? made!))
      })
      shared = plainPair(readShared(text)!)
    } catch (error) {
      if (own === undefined) throw error
      // It is tried again at the next look; until then this node's own one does.
      log.debug({ err: error }, 'the authority of the other nodes is not known yet')
      return own
    }
    agreed = true
    // Of nodes that start at once each makes one, and all but one of them are thrown away unused.
    if (made !== undefined && made.cert === shared.cert) sayNew()
    else if (own === undefined) log.info('the local authority of the other nodes is this node’s too')
    const differs = own !== undefined && own.cert !== shared.cert
    if (differs && options.replaceable !== true) {
      await writeFile(file(otherAuthority), shared.cert, { mode: 0o600 })
      log.warn(
        { others: fingerprint(shared), own: fingerprint(own) },
        'this node keeps a local authority of its own: browsers that trust one node do not trust the others; see vaartha doctor',
      )
      return own
    }
    await rm(file(otherAuthority), { force: true })
    if (own !== undefined && !differs) return own
    if (differs)
      log.warn('the local authority of the other nodes has taken the place of this node’s own, which nobody used')
    return keepPair(file('ca.crt'), file('ca.key'), shared)
  }

  const look = async () => {
    const own = await kept('ca', authorityRestMs)
    authority = own !== undefined && agreed ? own : await findAuthority(own)
    const wanted = [...new Set(options.names().map(plainName).filter(isNameable))]
    const present = await kept('server', renewBeforeMs)
    if (present && isSignedBy(present, authority) && wanted.every(name => present.names.includes(name))) {
      if (present.cert !== material?.cert) material = present
      return
    }
    const { issueServer } = await import('./authority.ts')
    const pair = await issueServer(authority, wanted, now())
    material = describe(await keepPair(file('server.crt'), file('server.key'), pair), true)
  }
  await look()
  return {
    current: () => material!,
    get caPem() {
      return authority!.cert
    },
    look,
  }
}

/** The file beside `ca.crt` that holds the certificate of the authority that the other nodes go by, while it is another. */
const otherAuthority = 'ca.other.crt'

const plainPair = ({ cert, key }: Pair): Pair => ({ cert, key })
const fingerprint = ({ cert }: Pair) => new X509Certificate(cert).fingerprint256

/** A pair as nodes tell it each other; undefined for what is none. */
function readShared(text: string): Material | undefined {
  try {
    const { cert, key } = JSON.parse(text) as Pair
    return describe({ cert, key }, true)
  } catch {
    // It is made anew, as a damaged one of our own would be.
    return undefined
  }
}

async function openFiles(options: CertificateOptions): Promise<Source> {
  const { cert, key } = options
  const marks = async () => (await Promise.all([cert, key].map(async path => `${(await stat(path)).mtimeMs}`))).join()
  const load = async () => {
    const pair = await readPair(cert, key)
    if (pair === undefined) throw new Refusal('bad-config', `certificates: ${cert} or ${key} is not there`)
    return describe(pair, false)
  }
  let material = await load()
  let mark = await marks()
  return {
    current: () => material,
    caPem: undefined,
    async look() {
      const next = await marks()
      if (next === mark) return
      // A half-written pair does not fit together: describe() refuses it, and the next look tries again.
      material = await load()
      mark = next
    },
  }
}

async function readPair(cert: string, key: string): Promise<{ cert: string; key: string } | undefined> {
  try {
    const [certText, keyText] = await Promise.all([readFile(cert, 'utf8'), readFile(key, 'utf8')])
    return { cert: certText, key: keyText }
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw new Refusal('bad-config', `certificates: ${(cause as Error).message}`, { cause })
  }
}

/** Key first: a certificate without its key would be read as whole at the next start. */
async function keepPair<T extends { cert: string; key: string }>(cert: string, key: string, pair: T): Promise<T> {
  for (const [path, text] of [
    [key, pair.key],
    [cert, pair.cert],
  ] as const) {
    await writeFile(`${path}.new`, text, { mode: 0o600 })
    await rename(`${path}.new`, path)
  }
  return pair
}

/** Checks that key and certificate belong together and reads what the certificate says. */
function describe(pair: { cert: string; key: string }, ownAuthority: boolean): Material {
  let certificate: X509Certificate
  let fits: boolean
  try {
    certificate = new X509Certificate(pair.cert)
    fits = certificate.checkPrivateKey(createPrivateKey(pair.key))
  } catch (cause) {
    throw new Refusal('bad-config', `certificates: a file is no PEM certificate or key: ${(cause as Error).message}`, {
      cause,
    })
  }
  if (!fits) throw new Refusal('bad-config', 'certificates: the key does not belong to the certificate')
  const names = (certificate.subjectAltName ?? '')
    .split(', ')
    .map(name => plainName(name.replace(/^(DNS|IP Address):/, '')))
  return { key: pair.key, cert: pair.cert, notAfter: new Date(certificate.validTo).toISOString(), names, ownAuthority }
}

function isSignedBy(material: Material, authority: { cert: string }): boolean {
  const certificate = new X509Certificate(material.cert)
  const issuer = new X509Certificate(authority.cert)
  return certificate.checkIssued(issuer) && certificate.verify(issuer.publicKey)
}

// What a host name may hold (RFC 1123 section 2.1), and `_`, which some machines have in theirs.
const hostName = /^[a-z0-9_][a-z0-9_-]{0,62}(\.[a-z0-9_-]{1,63}){0,20}$/

function isNameable(name: string): boolean {
  return isIP(name) !== 0 || hostName.test(name)
}

/** One spelling for each name: lower case, IPv6 addresses in their shortest form. */
function plainName(name: string): string {
  if (isIP(name) !== 6) return name.toLowerCase()
  return new URL(`http://[${name}]/`).hostname.slice(1, -1)
}
