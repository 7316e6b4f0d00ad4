import { openBrowser } from '../../support/browser.ts'
import { openMember } from '../../support/member.ts'
import { startPair, until } from '../../support/pair.ts'
import { openWebPhone, webUrl } from '../../support/web-phone.ts'

/** The silence in a meeting of two browsers and a phone, whose media passes their node, when that is killed. */
export async function room(): Promise<string[]> {
  const pair = await startPair()
  const browser = await openBrowser()
  try {
    const tones = { mum: 600, dad: 800, kid: 1000 }
    const [mums, dads, kids] = [await pair.addUser('mum'), await pair.addUser('dad'), await pair.addUser('kid')]
    const members = ['--members', 'mum,dad,kid', '--moderators', 'mum', '--ring', 'nobody', '--no-announce']
    await pair.a.cli('group', 'add', 'family', ...members)
    await until(async () => (await fetch(webUrl(pair.a))).status === 200, 30_000)
    const mum = await openWebPhone(browser, pair.a, { name: 'mum', password: mums, tone: tones.mum })
    await mum.call('family')
    const kid = await openMember({ server: pair.a, user: 'kid', password: kids, tone: tones.kid })
    await kid.call('family')
    const dad = await openWebPhone(browser, pair.a, { name: 'dad', password: dads, tone: tones.dad })
    await dad.call('family')
    const all = () =>
      Promise.all([
        mum.hears([tones.dad, tones.kid]),
        dad.hears([tones.mum, tones.kid]),
        kid.hears([tones.mum, tones.dad]),
      ])
    await all()
    const killed = performance.now()
    await pair.a.kill()
    await kid.turnTo(pair.b)
    await until(async () => (await pair.b.api<unknown[]>('/api/meetings')).length === 1, 15_000)
    const known = performance.now()
    await all()
    const whole = performance.now()
    await kid.close()
    const seconds = (from: number, to: number) => ((to - from) / 1000).toFixed(1)
    return [
      '| a node with a meeting of two browsers and a phone is killed with SIGKILL | |',
      '| --- | --- |',
      `| the meeting is at the other node, from SIGKILL on | ${seconds(killed, known)} s |`,
      `| each is heard by each again, from then on | ${seconds(known, whole)} s |`,
      `| the same, from SIGKILL on | ${seconds(killed, whole)} s |`,
    ]
  } finally {
    await browser.close()
    await pair.close()
  }
}
