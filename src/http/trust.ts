import { createHash, X509Certificate } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { HttpDeps } from './deps.ts'
import { html, Markup } from './markup.ts'
import { pageDocument } from './page.ts'

type Deps = Pick<HttpDeps, 'certificates' | 'info'>
type Points = () => { secure: boolean; port: number }[]

/**
 * `/trust` hands out the local authority's certificate, shows for each system how it is trusted, and looks whether it
 * worked. It is meant for plain HTTP, where nobody has to click a warning away to reach it.
 */
export function addTrust(app: FastifyInstance, deps: Deps, points: Points): void {
  const schema = { hide: true }
  const script = readFileSync(join(import.meta.dirname, 'page/trust.js'), 'utf8')
  app.get('/assets/trust.js', { schema }, (_request, reply) =>
    reply.type('text/javascript; charset=utf-8').header('cache-control', 'no-cache').send(script),
  )
  app.get('/trust', { schema }, async (request, reply) => {
    const { name } = await deps.info()
    const secure = secureOrigin(request, points)
    if (secure !== undefined) reply.header('content-security-policy', policy(secure))
    const body = deps.certificates.caPem() === undefined ? nothingToDo(secure) : steps(secure, fingerprint(deps))
    return reply.type('text/html; charset=utf-8').send(pageDocument(name, body, '/assets/trust.js'))
  })
  for (const [path, type, make] of [
    ['/ca.crt', 'application/x-x509-ca-cert', toDer],
    ['/ca.mobileconfig', 'application/x-apple-aspen-config', toProfile],
  ] as const)
    app.get(path, { schema }, (_request, reply) => {
      const pem = deps.certificates.caPem()
      if (pem === undefined) return reply.callNotFound()
      return reply
        .type(type)
        .header('content-disposition', `attachment; filename="vaartha${path.slice(3)}"`)
        .send(make(pem))
    })
  // The page under http:// asks https:// of the same machine; nobody else may read the answer.
  app.addHook('onRequest', async (request, reply) => {
    const { origin } = request.headers
    if (request.url !== '/health' || origin === undefined || !URL.canParse(origin)) return
    if (new URL(origin).hostname === hostOf(request))
      reply.header('access-control-allow-origin', origin).header('vary', 'origin')
  })
}

/** Host of the address that the browser has typed, without its port. */
function hostOf(request: FastifyRequest): string | undefined {
  const text = `http://${request.headers.host ?? ''}`
  return URL.canParse(text) ? new URL(text).hostname : undefined
}

function secureOrigin(request: FastifyRequest, points: Points): string | undefined {
  const port = points().find(point => point.secure)?.port
  const host = hostOf(request)
  if (port === undefined || host === undefined) return undefined
  return port === 443 ? `https://${host}` : `https://${host}:${port}`
}

function policy(secure: string): string {
  return `default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self' ${secure}; base-uri 'none'; frame-ancestors 'none'`
}

function toDer(pem: string): Buffer {
  return new X509Certificate(pem).raw
}

function fingerprint(deps: Deps): string {
  return new X509Certificate(deps.certificates.caPem()!).fingerprint256
}

/** What iPhones, iPads and Macs install by a tap. The same authority gives the same ids, so that it is replaced and not doubled. */
function toProfile(pem: string): string {
  const der = toDer(pem)
  const id = (salt: string) => {
    const hex = createHash('sha256').update(salt).update(der).digest('hex')
    return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-4${hex.slice(13, 16)}-8${hex.slice(17, 20)}-${hex.slice(20, 32)}`.toUpperCase()
  }
  return `<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<plist version="1.0"><dict>
<key>PayloadType</key><string>Configuration</string>
<key>PayloadVersion</key><integer>1</integer>
<key>PayloadIdentifier</key><string>vaartha.authority</string>
<key>PayloadUUID</key><string>${id('profile')}</string>
<key>PayloadDisplayName</key><string>Vaartha</string>
<key>PayloadDescription</key><string>Lets this device trust the Vaartha server of your own network.</string>
<key>PayloadContent</key><array><dict>
<key>PayloadType</key><string>com.apple.security.root</string>
<key>PayloadVersion</key><integer>1</integer>
<key>PayloadIdentifier</key><string>vaartha.authority.root</string>
<key>PayloadUUID</key><string>${id('root')}</string>
<key>PayloadDisplayName</key><string>Vaartha local authority</string>
<key>PayloadContent</key><data>${der.toString('base64')}</data>
</dict></array>
</dict></plist>
`
}

function nothingToDo(secure: string | undefined): Markup {
  return html`<section><h2>Nothing to do here</h2>
<p>This server has a certificate that your devices trust already${secure === undefined ? '' : html`: <a href="${secure}/">${secure}</a>`}.</p></section>`
}

interface Platform {
  id: string
  name: string
  file: string
  steps: readonly [picture: Picture, words: string][]
}

type Picture = 'load' | 'install' | 'switch' | 'store'

// The words of the systems' own menus, as they are in English.
const platforms: readonly Platform[] = [
  {
    id: 'ios',
    name: 'iPhone and iPad',
    file: '/ca.mobileconfig',
    steps: [
      ['load', 'Open this page in Safari, load the profile and choose “Allow”.'],
      ['install', 'Settings → “Profile Downloaded” at the top → “Install”.'],
      ['switch', 'Settings → General → About → Certificate Trust Settings: switch “Vaartha local authority” on.'],
    ],
  },
  {
    id: 'android',
    name: 'Android',
    file: '/ca.crt',
    steps: [
      ['load', 'Load the certificate; it lands among the downloads.'],
      ['install', 'Settings → search for “CA certificate” → “Install anyway”. A screen lock is wanted first.'],
      ['store', 'Choose the file vaartha.crt from the downloads.'],
    ],
  },
  {
    id: 'windows',
    name: 'Windows',
    file: '/ca.crt',
    steps: [
      ['load', 'Load the certificate and open it.'],
      ['install', '“Install Certificate…” → “Current User” → “Next”.'],
      [
        'store',
        '“Place all certificates in the following store” → “Trusted Root Certification Authorities” → “Finish”.',
      ],
    ],
  },
  {
    id: 'macos',
    name: 'Mac',
    file: '/ca.crt',
    steps: [
      ['load', 'Load the certificate and open it: Keychain Access asks where to; choose “login”.'],
      ['install', 'Find “Vaartha local authority” among the certificates and open it.'],
      ['switch', 'Trust → “When using this certificate”: “Always Trust”. Close the window and give your password.'],
    ],
  },
  {
    id: 'linux',
    name: 'Linux, and Firefox anywhere',
    file: '/ca.pem',
    steps: [
      ['load', 'Load the certificate.'],
      [
        'install',
        'Firefox: Settings → Privacy & Security → “View Certificates…” → “Authorities” → “Import…”. Chromium: chrome://certificate-manager → “Custom” → “Import”.',
      ],
      ['switch', 'Tick “Trust this CA to identify websites”.'],
    ],
  },
]

function steps(secure: string | undefined, print: string): Markup {
  return html`<section>
<h2>Let this device trust the server</h2>
<p>Browsers give microphone and camera only to pages that they trust. The server of your own network has made a certificate authority of its own; a device trusts it after three steps, once.</p>
<p>Do this only in a network that you trust yourself, for a server that you know. Its fingerprint (SHA-256), to compare with the one that <code>vaartha doctor</code> prints on the server:</p>
<p><code>${print}</code></p>
</section>
${platforms.map(platform)}
<section id="check">
<h2>Did it work?</h2>
<p class="live" role="status" data-check="${secure ?? ''}">${secure === undefined ? 'HTTPS is off on this server.' : 'Not looked yet.'}</p>
<p><button type="button" class="first" data-look>Look now</button></p>
<p data-go hidden><a href="${secure ?? ''}/">Go on to the phone</a></p>
</section>`
}

function platform({ id, name, file, steps }: Platform): Markup {
  return html`<details id="${id}"><summary><h2>${name}</h2></summary>
<p><a class="button" href="${file}" download>${id === 'ios' ? 'Load the profile' : 'Load the certificate'}</a></p>
<ol class="steps">${steps.map(([kind, words]) => html`<li>${picture(kind)}<span>${words}</span></li>`)}</ol>
</details>`
}

/** Small pictures in the text's own colour: what one looks for on the screen at this step. */
function picture(kind: Picture): Markup {
  const inside: Record<Picture, string> = {
    load: '<path d="M40 18h32l14 14v44H40z"/><path d="M72 18v14h14"/><path d="M63 38v22m-9-9 9 9 9-9"/><circle cx="63" cy="68" r="2"/>',
    install:
      '<rect x="34" y="14" width="58" height="68" rx="7"/><path d="M44 28h38M44 40h24"/><rect x="46" y="56" width="34" height="15" rx="7.5" class="full"/><path d="m57 64 4 4 8-8" class="on"/>',
    switch:
      '<rect x="18" y="34" width="90" height="28" rx="6"/><path d="M28 48h32"/><rect x="70" y="40" width="30" height="16" rx="8" class="full"/><circle cx="92" cy="48" r="5.5" class="on"/>',
    store:
      '<path d="M28 32h24l6 8h40v38H28z"/><rect x="52" y="48" width="22" height="20" rx="2"/><circle cx="63" cy="58" r="4"/><path d="m60 62-2 10 5-3 5 3-2-10"/>',
  }
  return new Markup(`<svg viewBox="0 0 126 96" aria-hidden="true">${inside[kind]}</svg>`)
}
