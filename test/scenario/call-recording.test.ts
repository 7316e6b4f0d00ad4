import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { answerChallenge, ha1Of } from '../../src/web/digest.ts'
import { type Member, openMember } from '../support/member.ts'
import { startVaartha, type TestServer } from '../support/server.ts'
import { secondsOf, soundOf } from '../support/tone.ts'

// A call of two phones is recorded through the whole server. What the files hold is told by tones.

const tones = { mum: 500, dad: 700, kid: 900 } as const
type Name = keyof typeof tones

interface Recorded {
  id: string
  meeting: string
  address: string
  seconds: number
  people: string[]
  files: { file: string; speaker: string; seconds: number; bytes: number }[]
}

interface CallSeen {
  id: string
  recording: boolean
}

const hasFfmpeg = spawnSync('ffmpeg', ['-version']).status === 0
const without = hasFfmpeg ? false : 'ATTENTION: no ffmpeg here, so recordings are NOT opened by a foreign program'

describe('recording of a call', { concurrency: false }, () => {
  let server: TestServer
  const all = new Map<Name, Member>()
  const passwords = new Map<Name, string>()
  const phone = (name: Name) => all.get(name)!
  let kept: Recorded

  before(async () => {
    server = await startVaartha({ settings: { VAARTHA_CALLS_RECORD: 'admins' } })
    for (const user of Object.keys(tones) as Name[]) {
      // Only mum is an administrator.
      const { code, stdout, stderr } = await server.cli(
        'user',
        'add',
        user,
        '--json',
        ...(user === 'mum' ? ['--admin'] : []),
      )
      assert.equal(code, 0, stderr)
      const { password } = JSON.parse(stdout) as { password: string }
      passwords.set(user, password)
      all.set(user, await openMember({ server, user, password, tone: tones[user] }))
    }
  })
  after(async () => {
    for (const member of all.values()) member.close()
    await server?.close()
  })

  /** Resolves when there are more files than those of earlier recordings: the tape runs after the tone only. */
  const rolls = (before: number) => {
    const folder = join(server.data, 'recordings')
    return phone('mum').until(() => existsSync(folder) && readdirSync(folder).length > before, 'a file')
  }
  const calls = () => server.api<CallSeen[]>('/api/calls')
  const recordings = () => server.api<Recorded[]>('/api/recordings')
  const both = async (other: Name = 'dad') => {
    await phone('mum').hears([tones[other]])
    await phone(other).hears([tones.mum])
  }

  /** The tone of consent is softer than who talks. */
  const consent = () =>
    Promise.all(
      [phone('mum'), phone('dad')].map(one =>
        one.until(() => (one.heard([1400])[0] ?? 0) > 0.03, 'the tone of consent'),
      ),
    )

  async function begin(): Promise<string> {
    assert.equal((await phone('mum').call('dad')).status, 200)
    await both()
    const [call] = await calls()
    assert.equal(call!.recording, false)
    return call!.id
  }

  /** Waits until so many are kept; the newest. */
  async function keeps(count: number): Promise<Recorded> {
    for (let tries = 0; ; tries++) {
      const list = await recordings()
      if (list.length >= count) return list[0]!
      assert.ok(tries < 100, `no recording was kept\n${server.log().slice(-3000)}`)
      await new Promise(resolve => setTimeout(resolve, 100))
    }
  }

  async function download(file: string): Promise<Buffer> {
    const { cookie } = await signIn('dad')
    const url = `http://127.0.0.1:${server.ports.http}/api/recordings/${kept.id}/${file}`
    const response = await fetch(url, { headers: { cookie } })
    assert.equal(response.status, 200)
    return Buffer.from(await response.arrayBuffer())
  }

  async function signIn(user: Name): Promise<{ cookie: string }> {
    const url = `http://127.0.0.1:${server.ports.http}/api/phone/session`
    const { challenge } = (await (await fetch(url)).json()) as { challenge: string }
    const credentials = { user, ha1: ha1Of(user, server.domain, passwords.get(user)!) }
    const proof = answerChallenge(challenge, credentials, { method: 'POST', uri: '/api/phone/session', cnonce: 'c' })
    const headers = { 'content-type': 'application/json' }
    const answer = await fetch(url, { method: 'POST', headers, body: JSON.stringify({ proof }) })
    assert.equal(answer.status, 200)
    return { cookie: answer.headers.get('set-cookie')!.split(';')[0]! }
  }

  it('goes on both ways while it is recorded, and is kept when that ends', async () => {
    const id = await begin()
    const path = `/api/calls/${id}/recording`
    assert.deepEqual(await server.api(path, 'POST'), { id, recording: true })
    assert.equal((await calls())[0]!.recording, true)
    assert.deepEqual([phone('mum').offers.length, phone('dad').offers.length], [1, 1])
    // The tone of consent comes first, to both.
    await consent()
    await both()
    const began = Date.now()
    await phone('mum').until(() => Date.now() - began > 4000, 'four seconds of talk')
    await both()
    assert.deepEqual(await server.api(path, 'DELETE'), { id, recording: false })
    assert.equal((await calls())[0]!.recording, false)
    await both()
    kept = await keeps(1)
    assert.equal(kept.meeting, id)
    assert.deepEqual(kept.people.toSorted(), ['sip:dad@vaartha.local', 'sip:mum@vaartha.local'])
    assert.deepEqual(kept.files.map(({ speaker }) => speaker).toSorted(), ['', 'dad', 'mum'])
  })

  it('holds both in the mix and each in a file of its own', { skip: without }, async () => {
    const expected: Record<string, number[]> = { '': [tones.mum, tones.dad], mum: [tones.mum], dad: [tones.dad] }
    for (const { file, speaker, seconds } of kept.files) {
      const ffmpeg = ['-v', 'warning', '-i', 'pipe:0', '-f', 's16le', '-ac', '1', '-ar', '16000', 'pipe:1']
      const run = spawnSync('ffmpeg', ffmpeg, { input: await download(file), maxBuffer: 1 << 26 })
      assert.equal(run.stderr.toString(), '')
      const pcm = new Int16Array(run.stdout.buffer, run.stdout.byteOffset, run.stdout.length / 2)
      const sound = soundOf(16_000, pcm)
      assert.ok(Math.abs(pcm.length / 16_000 - seconds) < 0.5, `${pcm.length / 16_000} s, ${seconds} s were told`)
      for (const tone of Object.values(tones)) {
        const found = secondsOf(sound, tone, 0.2)
        const what = `${found} s of ${tone} Hz in the file of "${speaker}"`
        if (expected[speaker]!.includes(tone)) assert.ok(found > 2, what)
        else assert.equal(found, 0, what)
      }
    }
  })

  it('is refused to who may not, and where there is no call', async () => {
    const [call] = await calls()
    const ask = async (id: string, headers: Record<string, string>) => {
      const url = `http://127.0.0.1:${server.ports.http}/api/calls/${id}/recording`
      const response = await fetch(url, { method: 'POST', headers })
      return [response.status, ((await response.json()) as { error: string }).error]
    }
    const dad = { ...(await signIn('dad')), origin: `http://127.0.0.1:${server.ports.http}` }
    assert.deepEqual(await ask(call!.id, dad), [403, 'forbidden'])
    assert.deepEqual(await ask('nothing', dad), [404, 'no-such-call'])
    assert.deepEqual(await ask(call!.id, {}), [401, 'unauthorized'])
    await phone('dad').dial('*9')
    await phone('dad').until(() => server.log().includes('"not recorded"'), 'the refusal of keys')
    assert.equal((await calls())[0]!.recording, false)
    await phone('mum').hangUp()
  })

  it('begins and ends by keys, and ends when a transfer changes who talks', async () => {
    const id = await begin()
    await phone('mum').press('*9')
    await consent()
    await both()
    await rolls(3)
    await phone('mum').dial('*9')
    assert.equal((await keeps(2)).meeting, id)
    assert.equal((await calls())[0]!.recording, false)
    await phone('mum').press('*9')
    await consent()
    await rolls(6)
    assert.equal(await phone('dad').refer(`sip:kid@${server.domain}`), 202)
    assert.deepEqual((await keeps(3)).people.toSorted(), ['sip:dad@vaartha.local', 'sip:mum@vaartha.local'])
    await both('kid')
    assert.equal((await calls())[0]!.recording, false)
    await phone('mum').hangUp()
  })

  it('is kept when somebody hangs up', async () => {
    const id = await begin()
    const { code, stdout, stderr } = await server.cli('calls', '--record', id)
    assert.equal(code, 0, `${stdout}${stderr}`)
    await consent()
    await rolls(9)
    await phone('dad').hangUp()
    const { meeting, files } = await keeps(4)
    assert.equal(meeting, id)
    assert.ok(files.some(({ speaker, seconds }) => speaker === '' && seconds > 0))
  })
})
