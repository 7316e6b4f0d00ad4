import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { chromium, type Page } from 'playwright-core'
import { build } from 'vite'

// Real Chromium pages, each with a tone of its own as microphone. What a page plays is analysed in the page by pieces of
// 20 ms, so that it can be told who is heard, and how long a sound was missing.

const pages = join(import.meta.dirname, 'pages')

/** Options of `window.client.register` in the foreign pages. */
export interface Registration {
  uri: string
  password: string
  /** `ws://…/sip` or `wss://…/sip`. */
  server: string
}

export interface Heard {
  hz: number
  /** Milliseconds in which it was heard since `watch`, and in which it was not, by the page's own audio clock. */
  heard: number
  missed: number
  /** The longest silence between two times it was heard, in ms. */
  longest: number
  /** Amplitude in the last 20 ms; a microphone's tone has 0.25. */
  level: number
}

export interface TestPage {
  readonly page: Page
  readonly tone: number
  /** Starts counting anew for these tones (multiples of 50 Hz). */
  watch(tones: readonly number[]): Promise<void>
  heard(): Promise<Heard[]>
  /** Resolves when each of `tones` has been heard for `ms` since now, and fails after 15 s, telling what was heard. */
  hears(tones: readonly number[], options?: { not?: readonly number[]; ms?: number }): Promise<void>
  /** Switches the microphone's tone. */
  talk(on: boolean): Promise<void>
  close(): Promise<void>
}

/** A page of a foreign library with `window.client` (pages/jssip.js, pages/sipjs.js). */
export interface ForeignPage extends TestPage {
  register(registration: Registration): Promise<void>
  /** Calls a function of the page's client. */
  client(name: string, ...args: unknown[]): Promise<unknown>
  state(): Promise<ClientState>
  /** Resolves when the state of the client is so. */
  until(what: Partial<ClientState>): Promise<void>
}

export interface ClientState {
  registered: boolean
  call: 'none' | 'progress' | 'accepted' | 'confirmed' | 'ended' | 'failed'
  cause: string
  status?: number
  ringing: boolean
  held: false | 'local' | 'remote'
  notes: string[]
}

export interface TestBrowser {
  /** Opens a URL with `tone` Hz as microphone; 0 is silence. */
  open(url: string, tone: number): Promise<TestPage>
  foreign(library: 'jssip' | 'sipjs', tone: number): Promise<ForeignPage>
  close(): Promise<void>
}

const flags = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--use-fake-device-for-media-stream',
  '--use-fake-ui-for-media-stream',
  '--allow-loopback-in-peer-connection',
  '--disable-features=WebRtcHideLocalIpsWithMdns',
  '--autoplay-policy=no-user-gesture-required',
  '--disable-background-timer-throttling',
  '--disable-backgrounding-occluded-windows',
  '--disable-renderer-backgrounding',
  '--ignore-certificate-errors',
]

/** Starts the system's Chromium; everything it made is gone after `close`. */
export async function openBrowser(): Promise<TestBrowser> {
  const profile = mkdtempSync(join(tmpdir(), 'vaartha-chromium-'))
  const browser = await chromium.launch({ executablePath: '/usr/bin/chromium', headless: true, args: flags })
  const ear = readFileSync(join(pages, 'ear.js'), 'utf8')
  const site = createServer(async (request, response) => {
    const library = /^\/(jssip|sipjs)\.js$/.exec(request.url ?? '')?.[1]
    response.setHeader('content-type', library ? 'text/javascript' : 'text/html')
    response.end(library ? await bundle(library) : page(request.url ?? ''))
  })
  await new Promise<void>(done => site.listen(0, '127.0.0.1', done))
  const origin = `http://127.0.0.1:${(site.address() as AddressInfo).port}`

  async function open(url: string, tone: number): Promise<TestPage> {
    const context = await browser.newContext({
      ignoreHTTPSErrors: true,
      // The ear is a script of its own, which a page's policy rightly refuses.
      bypassCSP: true,
      permissions: ['microphone', 'camera', 'notifications'],
    })
    await context.addInitScript({ content: `window.__tone = ${tone};\n${ear}` })
    const one = await context.newPage()
    await one.goto(url)
    return testPage(one, tone, () => context.close())
  }

  return {
    open,
    async foreign(library, tone) {
      const opened = await open(`${origin}/${library}`, tone)
      await opened.page.waitForFunction('window.client !== undefined')
      return foreignPage(opened)
    },
    async close() {
      await browser.close()
      site.close()
      site.closeAllConnections()
      rmSync(profile, { recursive: true, force: true })
    },
  }
}

function testPage(page: Page, tone: number, close: () => Promise<void>): TestPage {
  const heard = async () => {
    const asked = 'window.__ear.ask()'
    const { now, tones } = (await page.evaluate(asked)) as { now: number; tones: (Heard & { began: number })[] }
    return tones.map(one => ({ ...one, missed: now - one.began - one.heard }))
  }
  return {
    page,
    tone,
    watch: async tones => void (await page.evaluate(`window.__ear.watch(${JSON.stringify(tones)})`)),
    heard,
    async hears(tones, { not = [], ms = 600 } = {}) {
      await page.evaluate(`window.__ear.watch(${JSON.stringify([...tones, ...not])})`)
      const until = Date.now() + 15_000
      let last: Heard[] = []
      while (Date.now() < until) {
        last = await heard()
        if (tones.every(hz => (last.find(one => one.hz === hz)?.heard ?? 0) >= ms)) break
        await page.waitForTimeout(50)
      }
      const missing = tones.filter(hz => (last.find(one => one.hz === hz)?.heard ?? 0) < ms)
      const wrong = not.filter(hz => (last.find(one => one.hz === hz)?.heard ?? 0) > ms / 4)
      if (missing.length > 0 || wrong.length > 0) {
        throw new Error(`page with ${tone} Hz: missing ${missing}, wrongly heard ${wrong}; ${JSON.stringify(last)}`)
      }
    },
    talk: async on => void (await page.evaluate(`window.__talk?.(${on})`)),
    close,
  }
}

function foreignPage(opened: TestPage): ForeignPage {
  const { page } = opened
  const client = (name: string, ...args: unknown[]) =>
    page.evaluate(`(async () => { await window.client[${JSON.stringify(name)}](...${JSON.stringify(args)}) })()`)
  const state = async () => (await page.evaluate('({ ...window.client.state })')) as ClientState
  return {
    ...opened,
    client,
    state,
    register: async registration => void (await client('register', registration)),
    async until(what) {
      const wanted = JSON.stringify(what)
      const test = `Object.entries(${wanted}).every(([key, value]) => window.client.state[key] === value)`
      try {
        await page.waitForFunction(test, undefined, { timeout: 15_000, polling: 50 })
      } catch {
        throw new Error(`page with ${opened.tone} Hz is not ${wanted} but ${JSON.stringify(await state())}`)
      }
    },
  }
}

const bundles = new Map<string, Promise<string>>()

/** The page's script with its library, in one file. */
function bundle(library: string): Promise<string> {
  const made = bundles.get(library) ?? bundleNow(library)
  bundles.set(library, made)
  return made
}

async function bundleNow(library: string): Promise<string> {
  const result = await build({
    configFile: false,
    logLevel: 'error',
    root: pages,
    build: {
      write: false,
      minify: false,
      rollupOptions: { input: join(pages, `${library}.js`), output: { format: 'es', inlineDynamicImports: true } },
    },
  })
  const { output } = (Array.isArray(result) ? result[0] : result) as { output: { type: string; code: string }[] }
  return output.find(one => one.type === 'chunk')!.code
}

function page(path: string): string {
  return `<!doctype html><title>${path.slice(1)}</title><body><script type="module" src="${path}.js"></script></body>`
}
