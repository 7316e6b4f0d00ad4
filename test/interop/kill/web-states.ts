import type { Baresip } from '../../support/baresip.ts'
import { until } from '../../support/pair.ts'
import { openWebPhone, type WebPhone, webUrl } from '../../support/web-phone.ts'
import { type Ground, meetingsAt } from './ground.ts'
import { hears, missedBy, type State } from './states.ts'

// Meetings of real browsers: three pages that send to each other directly, and two that meet a phone in the SFU.

const tones = [600, 800, 1000]

async function openPages(ground: Ground, users: readonly string[], group: string): Promise<WebPhone[]> {
  const { a } = ground.pair
  // The first start of a node may still build the pages.
  await until(async () => (await fetch(webUrl(a).replace(/^https:(.*):\d+/, `http:$1:${a.ports.http}`))).ok, 60_000)
  const browser = await ground.browser()
  const pages: WebPhone[] = []
  for (const [i, name] of users.entries()) {
    const page = await openWebPhone(browser, a, { name, password: ground.password(name), tone: tones[i]! })
    pages.push(page)
    await page.call(group)
    await page.shows(`${pages.length} in the meeting`)
  }
  return pages
}

const heardBy = async (pages: readonly WebPhone[]) => (await Promise.all(pages.map(page => page.heard()))).flat()
const missedIn = async (pages: readonly WebPhone[]) => (await heardBy(pages)).map(({ missed }) => missed / 1000)

async function watch(pages: readonly WebPhone[], all: readonly number[]): Promise<void> {
  for (const page of pages) await page.watch(all.filter(tone => tone !== page.tone))
  await until(async () => (await heardBy(pages)).every(({ heard }) => heard > 500), 15_000)
}

async function leave(ground: Ground, id: string, pages: readonly WebPhone[], phone: Baresip | undefined, ms: number) {
  const { a, b } = ground.pair
  const node = (await meetingsAt(b)).includes(id) ? b : a
  for (const page of pages) await page.button('Leave').click({ timeout: ms })
  await phone?.command('hangup')
  await until(async () => !(await meetingsAt(node)).includes(id), ms)
}

interface Seen {
  id: string
  shape: string
  changing: boolean
  group: string
}

/** The meeting of a group at node `a`. */
async function meetingOf({ pair }: Ground, group: string): Promise<Seen | undefined> {
  return (await pair.a.api<Seen[]>('/api/meetings')).find(seen => JSON.stringify(seen).includes(`${group}@`))
}

const mesh: State = {
  name: 'mesh of browsers',
  users: ['mesh1', 'mesh2', 'mesh3'],
  group: 'mesh',
  quiet: true,
  web: true,
  async bring(ground) {
    const pages = await openPages(ground, this.users, 'mesh')
    const isMesh = (seen: Seen | undefined) => seen?.shape === 'mesh' && !seen.changing
    await until(async () => isMesh(await meetingOf(ground, 'mesh')), 60_000)
    await watch(pages, tones)
    const id = (await meetingOf(ground, 'mesh'))!.id
    return {
      phones: [],
      ids: [id],
      missed: () => missedIn(pages),
      finish: ms => leave(ground, id, pages, undefined, ms),
      close: () => Promise.all(pages.map(page => page.close())),
    }
  },
}

const sfu: State = {
  name: 'browsers and a phone in the SFU',
  users: ['sfu1', 'sfu2', 'sfu3'],
  group: 'sfu',
  quiet: true,
  web: true,
  async bring(ground) {
    const [one, other, third] = this.users as [string, string, string]
    const pages = await openPages(ground, [one, other], 'sfu')
    const phone = await ground.phone(third, { tone: tones[2]! })
    await phone.command('dial', `sip:sfu@${ground.pair.a.domain}`)
    await phone.event('CALL_ESTABLISHED')
    await watch(pages, tones)
    const others = tones.slice(0, 2)
    await until(() => others.every(tone => hears(phone, tone, 0.2) > 0.5), 15_000)
    const { id } = (await meetingOf(ground, 'sfu'))!
    return {
      phones: [phone],
      ids: [id],
      missed: async () => [...(await missedIn(pages)), ...others.map(tone => missedBy(phone, tone, 0.2))],
      finish: ms => leave(ground, id, pages, phone, ms),
      close: () => Promise.all(pages.map(page => page.close())),
    }
  },
}

export const webStates = [mesh, sfu]
