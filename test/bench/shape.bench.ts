import { openBrowser } from '../support/browser.ts'
import { freePorts, startVaartha } from '../support/server.ts'
import { openWebPhone, type WebPhone, webUrl } from '../support/web-phone.ts'
import { writeSection } from './support/page.ts'

// What a change of shape costs those who listen: real Chromium pages with our web phone, three of which speak, each with
// a tone of its own, and one more that comes and goes, so that the mesh of the others becomes an SFU and a mesh again. Beside
// each change stands as long a time without one: what is missed there is the machine's, not the change's.
// `--pages 9` takes nine (8 → 9 → 8), for which a machine needs more than two cores; `--quick` takes few changes,
// `--write` puts the table into docs/benchmarks.md.

const options = process.argv.slice(2)
const pages = Number(options[options.indexOf('--pages') + 1]) || 4
const rounds = options.includes('--quick') ? 2 : 10
const names = Array.from({ length: pages }, (_, i) => `p${i + 1}`)
// As many as are forwarded at once.
const speakers = 3
const toneOf = (i: number) => (i < speakers ? 300 + 100 * i : 0)

const fast = { timeout: 120_000, polling: 20 }
const pause = (ms: number) => new Promise<void>(done => setTimeout(done, ms))

const [port] = (await freePorts(1)) as [number]
const server = await startVaartha({
  settings: {
    VAARTHA_MEDIA_PORT: String(port),
    VAARTHA_GROUPS_MESH_MOST: String(pages - 1),
    VAARTHA_GROUPS_MESH_BACK: String(pages - 1),
  },
})
const browser = await openBrowser()
try {
  await run()
} finally {
  await browser.close()
  await server.close()
}

async function run(): Promise<void> {
  const phones: WebPhone[] = []
  const passwords = new Map<string, string>()
  for (const name of names) passwords.set(name, await server.addUser(name))
  await server.cli('group', 'add', 'all', '--members', names.join(), '--ring', 'nobody')
  while ((await fetch(webUrl(server))).status !== 200) await new Promise(done => setTimeout(done, 200))
  for (const [i, name] of names.entries()) {
    phones.push(await openWebPhone(browser, server, { name, password: passwords.get(name)!, tone: toneOf(i) }))
  }
  const stay = phones.slice(0, -1)
  const guest = phones.at(-1)!
  for (const phone of stay) await phone.call('all')
  const gaps = {
    'mesh → SFU': [] as number[],
    'mesh, no change': [] as number[],
    'SFU → mesh': [] as number[],
    'SFU, no change': [] as number[],
  }
  const times: number[] = []
  await shows(stay, 'mesh')
  // How long the last change was listened to.
  let [toSfu, toMesh] = [2000, 3000]
  for (let round = 0; round < rounds; round++) {
    gaps['mesh, no change'].push(...(await heardWhile(stay, () => pause(toSfu))))
    let began = performance.now()
    const missed = await heardWhile(stay, async () => {
      await guest.call('all')
      await shows(stay, 'through vaartha')
      times.push(performance.now() - began)
      await guest.hears(stay.slice(0, speakers).map(one => one.tone))
    })
    gaps['mesh → SFU'].push(...missed)
    toSfu = performance.now() - began
    await guest.button('Leave').click()
    await guest.idle()
    // A meeting that has become small waits for ten seconds.
    gaps['SFU, no change'].push(...(await heardWhile(stay, () => pause(toMesh))))
    await Promise.any(stay.map(phone => phone.page.waitForFunction(facts('being changed'), undefined, fast)))
    began = performance.now()
    gaps['SFU → mesh'].push(
      ...(await heardWhile(stay, async () => {
        await shows(stay, 'mesh')
        await pause(1500)
      })),
    )
    toMesh = Math.min(performance.now() - began, 8000)
    const worst = Object.values(gaps).map(all => Math.max(...all.slice(-missed.length)))
    process.stdout.write(
      `round ${round + 1} of ${rounds}: ${Math.round(times.at(-1)!)} ms; missed ${worst.join(', ')} ms\n`,
    )
  }
  const rows = Object.entries(gaps).map(
    ([name, all]) =>
      `| ${name} | ${rounds} | ${all.length} | ${median(all)} | ${Math.max(...all)} | ${all.filter(gap => gap > 60).length} |`,
  )
  const text = [
    '| change | times | pairs listened to | silence, median ms | worst | pairs with more than 60 ms |',
    '| --- | ---: | ---: | ---: | ---: | ---: |',
    ...rows,
    '',
    `${pages} pages. From the call of the last one to the moment when all others play the SFU: median ${Math.round(median(times))} ms, worst ${Math.round(Math.max(...times))} ms.`,
  ].join('\n')
  process.stdout.write(`${text}\n`)
  if (options.includes('--write')) writeSection('shape', text)
}

function facts(text: string, without = '-'): string {
  return `(() => { const facts = document.querySelector('.facts')?.textContent ?? ''
    return facts.includes(${JSON.stringify(text)}) && !facts.includes(${JSON.stringify(without)}) })()`
}

/** Resolves when all these pages show this shape, and that it does not change any more. */
async function shows(phones: readonly WebPhone[], shape: string): Promise<void> {
  await Promise.all(phones.map(({ page }) => page.waitForFunction(facts(shape, 'being changed'), undefined, fast)))
}

/** What each of them misses of those that speak while something goes on. */
async function heardWhile(phones: readonly WebPhone[], work: () => Promise<void>): Promise<number[]> {
  const tones = phones.slice(0, speakers).map(one => one.tone)
  await Promise.all(phones.map(phone => phone.watch(tones.filter(hz => hz !== phone.tone))))
  await work()
  return heard(phones)
}

/** The longest silence of each pair since they were listened to, in ms; a speaker who was never heard counts as an hour. */
async function heard(phones: readonly WebPhone[]): Promise<number[]> {
  const all = await Promise.all(phones.map(phone => phone.heard()))
  return all.flat().map(one => (one.heard > 0 ? one.longest : 3_600_000))
}

function median(all: readonly number[]): number {
  return all.toSorted((a, b) => a - b)[all.length >> 1] ?? Number.NaN
}
