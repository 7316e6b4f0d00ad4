import 'reflect-metadata'
import type { webcrypto } from 'node:crypto'
import { isIP } from 'node:net'
import {
  AuthorityKeyIdentifierExtension,
  BasicConstraintsExtension,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  type JsonGeneralName,
  KeyUsageFlags,
  KeyUsagesExtension,
  PemConverter,
  SubjectAlternativeNameExtension,
  SubjectKeyIdentifierExtension,
  X509Certificate,
  X509CertificateGenerator,
} from '@peculiar/x509'

// Making certificates is rare and its packages are large, so this file is loaded only when one must be made.

/** PEM texts. */
export interface Pair {
  cert: string
  key: string
}

const curve = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' }
const day = 86_400_000
const authorityDays = 3650
// Apple's systems refuse server certificates of more than 398 days.
const serverDays = 397

/** A new certificate authority, for this server's own certificates only. `label` tells it from another home's. */
export async function makeAuthority(label: string, now: number): Promise<Pair> {
  const keys = await crypto.subtle.generateKey(curve, true, ['sign', 'verify'])
  const certificate = await X509CertificateGenerator.createSelfSigned({
    serialNumber: serialNumber(),
    name: `CN=Vaartha local authority ${label}, O=Vaartha`,
    notBefore: new Date(now - day),
    notAfter: new Date(now + authorityDays * day),
    keys,
    signingAlgorithm: curve,
    extensions: [
      new BasicConstraintsExtension(true, 0, true),
      new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true),
      await SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  })
  return { cert: certificate.toString('pem'), key: await privatePem(keys.privateKey) }
}

/** A server certificate for names and IP addresses, with the authority's certificate behind it. */
export async function issueServer(authority: Pair, names: readonly string[], now: number): Promise<Pair> {
  const issuer = new X509Certificate(authority.cert)
  const signingKey = await crypto.subtle.importKey('pkcs8', PemConverter.decode(authority.key)[0]!, curve, false, [
    'sign',
  ])
  const keys = await crypto.subtle.generateKey(curve, true, ['sign', 'verify'])
  const certificate = await X509CertificateGenerator.create({
    serialNumber: serialNumber(),
    subject: `CN=${names[0] ?? 'vaartha.local'}`,
    issuer: issuer.subject,
    notBefore: new Date(now - day),
    notAfter: new Date(now + serverDays * day),
    publicKey: keys.publicKey,
    signingKey,
    signingAlgorithm: curve,
    extensions: [
      new BasicConstraintsExtension(false, undefined, true),
      new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
      new ExtendedKeyUsageExtension([ExtendedKeyUsage.serverAuth]),
      new SubjectAlternativeNameExtension(names.map(generalName)),
      await SubjectKeyIdentifierExtension.create(keys.publicKey),
      await AuthorityKeyIdentifierExtension.create(issuer.publicKey),
    ],
  })
  return { cert: `${certificate.toString('pem')}\n${authority.cert}`, key: await privatePem(keys.privateKey) }
}

function generalName(name: string): JsonGeneralName {
  return { type: isIP(name) === 0 ? 'dns' : 'ip', value: name }
}

function serialNumber(): string {
  // Positive (RFC 5280 section 4.1.2.2): the first byte stays below 0x80.
  const bytes = crypto.getRandomValues(new Uint8Array(16))
  bytes[0] = (bytes[0]! & 0x7f) | 0x40
  return Buffer.from(bytes).toString('hex')
}

async function privatePem(key: webcrypto.CryptoKey): Promise<string> {
  return PemConverter.encode(await crypto.subtle.exportKey('pkcs8', key), 'PRIVATE KEY')
}
