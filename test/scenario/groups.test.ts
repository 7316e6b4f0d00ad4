import assert from 'node:assert/strict'
import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { after, afterEach, before, describe, it } from 'node:test'
import { type Member, openMember } from '../support/member.ts'
import { startVaartha, type TestServer } from '../support/server.ts'

// Groups of phones through the whole server. Who hears whom is told by tones.

const tones = { mum: 500, dad: 700, kid: 900, aunt: 1100 } as const
type Name = keyof typeof tones
/** Of the tone that tells of a recording. */
const consent = 1400

interface MeetingSeen {
  id: string
  address: string
  locked: boolean
  recording: boolean
  members: { id: number; user: string; muted: boolean }[]
}

describe('groups', { concurrency: false }, () => {
  let server: TestServer
  const all = new Map<Name, Member>()
  const phone = (name: Name) => all.get(name)!

  before(async () => {
    server = await startVaartha()
    for (const user of Object.keys(tones) as Name[]) {
      const password = await server.addUser(user, user.toUpperCase())
      all.set(user, await openMember({ server, user, password, tone: tones[user] }))
    }
    for (const args of [
      ['add', 'family', '--members', 'mum,dad,kid', '--moderators', 'mum', '-n', 'Family'],
      ['add', 'room', '--members', 'mum', '--ring', 'nobody', '--pin', '4711', '--no-announce'],
      ['add', 'queue', '--members', 'mum,dad,kid', '--ring', 'order'],
      ['add', 'pair', '--members', 'mum,dad', '--ring', 'nobody', '--most', '2', '--no-announce'],
    ]) {
      const { code, stderr } = await server.cli('group', ...args)
      assert.equal(code, 0, stderr)
    }
  })
  after(async () => {
    for (const member of all.values()) member.close()
    await server.close()
  })

  afterEach(async () => {
    for (const { id } of await meetings()) await server.api(`/api/meetings/${id}/end`, 'POST').catch(() => undefined)
    for (const member of all.values()) if (!member.ended) await member.hangUp()
    await quiet()
  })

  const meetings = () => server.api<MeetingSeen[]>('/api/meetings')
  const quiet = async () => {
    for (const member of all.values()) {
      member.answers = true
      if (!member.ended) await member.until(() => member.ended, 'the end')
    }
    const until = Date.now() + 5000
    for (let left = await meetings(); left.length > 0; left = await meetings()) {
      assert.ok(Date.now() < until, JSON.stringify(left))
      await new Promise(resolve => setTimeout(resolve, 100))
    }
  }
  const hangUp = async (...names: Name[]) => {
    for (const name of names) await phone(name).hangUp()
    await quiet()
  }

  it('rings all members at once, and each hears the others and not itself', async () => {
    const ok = await phone('mum').call('family')
    assert.equal(ok.status, 200)
    assert.match(ok.header('Contact'), /<sip:family@127\.0\.0\.1:\d+>;isfocus/)
    assert.match(ok.header('Vaartha-Meeting'), /^[0-9a-f]{8};member=1$/)
    await Promise.all([
      phone('mum').hears([tones.dad, tones.kid], { not: [tones.mum] }),
      phone('dad').hears([tones.mum, tones.kid], { not: [tones.dad] }),
      phone('kid').hears([tones.mum, tones.dad], { not: [tones.kid] }),
    ])
    const invite = phone('dad').invites.at(-1)!
    assert.match(invite.header('From'), /^"Family \(MUM\)" <sip:family@/)
    assert.match(invite.header('Contact'), /;isfocus/)
    await hangUp('mum', 'dad', 'kid')
  })

  it('tells the roster in full and then what changes, and whom it rings', async () => {
    const [mum, dad, kid] = [phone('mum'), phone('dad'), phone('kid')]
    kid.answers = false
    assert.equal(await mum.subscribe('family'), 200)
    await mum.until(() => mum.roster?.active === false, 'an empty roster')
    await mum.call('family')
    await mum.until(() => mum.members.size === 2, 'both')
    assert.deepEqual([...mum.roster!.users.keys()].sort(), [
      'sip:dad@vaartha.local',
      'sip:kid@vaartha.local',
      'sip:mum@vaartha.local',
    ])
    assert.equal(mum.roster!.topology['shape'], 'sfu')
    await mum.until(() => mum.roster!.speaker !== undefined, 'a speaker')
    await dad.hangUp()
    await mum.until(() => mum.members.size === 1, 'dad’s leaving')
    await mum.hangUp()
    await mum.until(() => mum.roster!.active === false, 'the end of the meeting')
    assert.equal(await mum.resubscribe(0), 200)
    await quiet()
  })

  it('shows the roster to members and participants only, and knows no other event', async () => {
    assert.equal(await phone('aunt').subscribe('family'), 403)
    assert.equal(await phone('mum').subscribe('nothing'), 404)
  })

  it('rings one after the other where the group wishes so', async () => {
    const before = phone('kid').invites.length
    await phone('mum').call('queue')
    await phone('mum').hears([tones.dad])
    assert.equal(phone('kid').invites.length, before)
    await hangUp('mum', 'dad')
  })

  it('lets strangers in after the PIN, members without, and nobody after three wrong ones', async () => {
    const [mum, aunt, kid] = [phone('mum'), phone('aunt'), phone('kid')]
    await mum.call('room')
    await aunt.call('room')
    await mum.until(() => mum.heard([tones.aunt])[0]! < 0.02, 'silence')
    await aunt.press('4711#')
    await mum.hears([tones.aunt])
    await aunt.hears([tones.mum])
    await kid.call('room')
    for (let i = 0; i < 3; i++) await kid.press('1234#')
    await kid.until(() => kid.ended, 'the end')
    await mum.hears([tones.aunt], { not: [tones.kid] })
    await hangUp('mum', 'aunt')
  })

  it('mutes by *6, counts by *1, and lets moderators lock by *7', async () => {
    const [mum, dad, aunt] = [phone('mum'), phone('dad'), phone('aunt')]
    await mum.subscribe('family')
    await mum.call('family')
    await mum.hears([tones.dad, tones.kid])
    await dad.press('*6')
    await mum.hears([tones.kid], { not: [tones.dad] })
    await mum.until(() => [...mum.members.values()].includes('muted-via-focus'), 'the roster’s word')
    await dad.press('*6')
    await mum.hears([tones.dad, tones.kid])
    await dad.press('*1')
    await dad.press('*7')
    assert.equal((await meetings())[0]!.locked, false)
    await mum.dial('*7')
    await mum.until(() => mum.roster!.locked, 'the lock')
    assert.equal((await aunt.call('family')).status, 403)
    await hangUp('mum', 'dad', 'kid')
  })

  it('obeys moderators by INFO, and nobody else', async () => {
    const [mum, dad, kid] = [phone('mum'), phone('dad'), phone('kid')]
    await mum.call('family')
    await mum.hears([tones.dad, tones.kid])
    const members = (await meetings())[0]!.members
    const idOf = (user: string) => members.find(one => one.user === user)!.id
    assert.equal(await dad.info({ do: 'mute', member: idOf('kid') }), 403)
    assert.equal(await dad.info({ do: 'nonsense' }), 400)
    assert.equal(await mum.info({ do: 'mute', member: 99 }), 404)
    assert.equal(await mum.info({ do: 'mute', member: idOf('kid') }), 200)
    await mum.hears([tones.dad], { not: [tones.kid] })
    assert.equal(await mum.info({ do: 'remove', member: idOf('dad') }), 200)
    await dad.until(() => dad.ended, 'being removed')
    assert.equal(await mum.info({ do: 'invite', user: 'aunt' }), 200)
    await mum.hears([tones.aunt])
    assert.equal(await mum.info({ do: 'end' }), 200)
    await quiet()
    assert.ok(kid.ended)
  })

  it('obeys operators by the API', async () => {
    const [mum, dad] = [phone('mum'), phone('dad')]
    await mum.call('family')
    await mum.hears([tones.dad, tones.kid])
    const [meeting] = await meetings()
    const dadId = meeting!.members.find(one => one.user === 'dad')!.id
    const post = (path: string) => server.api(`/api/meetings/${path}`, 'POST').catch((error: Error) => error.message)
    await post(`${meeting!.id}/members/${dadId}/mute`)
    await mum.hears([tones.kid], { not: [tones.dad] })
    await post(`${meeting!.id}/lock`)
    assert.equal((await meetings())[0]!.locked, true)
    assert.match(String(await post(`${meeting!.id}/members/77/mute`)), /404/)
    await post(`${meeting!.id}/members/${dadId}/remove`)
    await dad.until(() => dad.ended, 'being removed')
    const listed = await server.cli('meetings')
    assert.match(listed.stdout, /sip:family@vaartha\.local +sfu/)
    await post(`${meeting!.id}/end`)
    await quiet()
  })

  it('takes no more people than it may', async () => {
    await phone('mum').call('pair')
    await phone('dad').call('pair')
    assert.equal((await phone('kid').call('pair')).status, 486)
    await hangUp('mum', 'dad')
    assert.equal((await phone('kid').call('nogroup')).status, 404)
  })

  it('makes meetings for who calls the factory, invites by REFER and tells how it goes', async () => {
    const [mum, aunt, dad] = [phone('mum'), phone('aunt'), phone('dad')]
    const ok = await mum.call('meet')
    const address = /<sip:(meet-[a-z0-9]{6})@/.exec(ok.header('Contact'))?.[1]
    assert.ok(address, ok.header('Contact'))
    mum.notes.length = 0
    assert.equal(await mum.refer('<sip:aunt@vaartha.local>'), 202)
    await mum.hears([tones.aunt])
    await mum.until(() => mum.notes.includes(200), 'the success')
    assert.equal(mum.notes[0], 100)
    assert.match(aunt.invites.at(-1)!.header('From'), /"Meeting of MUM"/)
    assert.equal((await dad.call(address)).status, 200)
    await dad.hears([tones.mum, tones.aunt])
    assert.equal(await mum.refer('<sip:dad@vaartha.local;method=BYE>'), 202)
    await dad.until(() => dad.ended, 'being removed')
    mum.notes.length = 0
    assert.equal(await mum.refer('<sip:nobody@vaartha.local>'), 202)
    await mum.until(() => mum.notes.includes(404), 'the failure')
    await hangUp('mum', 'aunt')
    assert.equal((await dad.call(address)).status, 404)
  })

  it('makes a meeting of a call when a third person is added', async () => {
    const [mum, dad] = [phone('mum'), phone('dad')]
    await mum.call('dad')
    await mum.hears([tones.dad])
    const call = mum.replaces
    await mum.call('meet')
    const to = `<sip:dad@vaartha.local?Replaces=${encodeURIComponent(call)}>`
    assert.equal(await mum.refer(to), 202)
    await mum.hears([tones.dad])
    await dad.hears([tones.mum])
    assert.match(dad.offers.at(-1)!.headers.header('Contact'), /<sip:meet-[a-z0-9]{6}@.*;isfocus/)
    assert.equal(await mum.refer('<sip:kid@vaartha.local>'), 202)
    await Promise.all([
      mum.hears([tones.dad, tones.kid]),
      dad.hears([tones.mum, tones.kid]),
      phone('kid').hears([tones.mum, tones.dad]),
    ])
    await hangUp('mum', 'dad', 'kid')
    assert.deepEqual(await server.api('/api/calls'), [])
  })

  it('takes in who is transferred to it', async () => {
    const [mum, dad, kid] = [phone('mum'), phone('dad'), phone('kid')]
    await kid.call('pair')
    await mum.call('dad')
    await mum.hears([tones.dad])
    mum.notes.length = 0
    assert.equal(await mum.refer('<sip:pair@vaartha.local>'), 202)
    await dad.hears([tones.kid])
    await kid.hears([tones.dad])
    await mum.until(() => mum.ended && mum.notes.includes(200), 'the end of the transfer')
    await hangUp('dad', 'kid')
    assert.deepEqual(await server.api('/api/calls'), [])
  })

  it('keeps the member of a client that comes back in another dialog', async () => {
    const [mum, dad] = [phone('mum'), phone('dad')]
    await mum.subscribe('pair')
    await mum.call('pair')
    await dad.call('pair')
    await mum.hears([tones.dad])
    const before = [...mum.members.keys()]
    const ok = await dad.comeBack('pair')
    assert.equal(ok.status, 200, ok.text)
    assert.match(ok.header('Vaartha-Meeting'), /;member=2$/)
    await mum.hears([tones.dad])
    await dad.hears([tones.mum])
    assert.deepEqual([...mum.members.keys()], before)
    assert.equal((await phone('kid').call('pair', [`Replaces: ${dad.replaces}`])).status, 403)
    await hangUp('mum', 'dad')
  })

  it('records what a moderator wants recorded, and keeps it for those who were there', async () => {
    const [mum, dad] = [phone('mum'), phone('dad')]
    await mum.subscribe('family')
    await mum.call('family')
    await mum.hears([tones.dad, tones.kid])
    assert.equal(await dad.info({ do: 'record' }), 403)
    assert.equal(await mum.info({ do: 'record' }), 200)
    await mum.until(() => mum.roster!.meeting['recording'] === 'true', 'the roster’s word')
    // It begins after the tone that tells everybody; then there are files.
    const folder = join(server.data, 'recordings')
    await mum.until(() => existsSync(folder) && readdirSync(folder).length > 0, 'files', 20_000)
    await mum.hears([tones.dad, tones.kid])
    // Who comes later is told too, and only that one.
    const aunt = phone('aunt')
    await aunt.call('family')
    // Over three who speak it is the quietest.
    await aunt.until(() => aunt.heard([consent])[0]! > 0.02, 'the tone')
    assert.ok(mum.heard([consent])[0]! < 0.005)
    assert.equal(await mum.info({ do: 'stop-recording' }), 200)
    await hangUp('mum', 'dad', 'kid', 'aunt')
    const list = () =>
      server.api<{ id: string; people: string[]; files: { file: string; speaker: string; seconds: number }[] }[]>(
        '/api/recordings',
      )
    for (let tries = 0; (await list()).length === 0; tries++) {
      assert.ok(tries < 100, 'no recording was kept')
      await new Promise(resolve => setTimeout(resolve, 100))
    }
    const [one] = await list()
    assert.deepEqual(
      one!.people.sort(),
      ['aunt', 'dad', 'kid', 'mum'].map(user => `sip:${user}@vaartha.local`),
    )
    assert.ok(one!.files.some(file => file.speaker === '' && file.seconds > 0))
    const base = `http://127.0.0.1:${server.ports.http}/api/recordings`
    assert.equal((await fetch(`${base}/${one!.id}/${one!.files[0]!.file}`)).status, 401)
  })

  it('is ruled by the command line', async () => {
    const set = await server.cli('group', 'set', 'queue', '--ring', 'nobody', '--pin', '1234', '--no-announce')
    assert.equal(set.code, 0, set.stderr)
    const shown = JSON.parse((await server.cli('group', 'show', 'queue', '--json')).stdout) as Record<string, unknown>
    assert.equal(shown['ring'], 'nobody')
    assert.equal(shown['pin'], true)
    assert.equal(shown['announce'], false)
    assert.deepEqual(shown['members'], ['mum', 'dad', 'kid'])
    assert.match((await server.cli('group', 'list')).stdout, /^pair +vaartha\.local/m)
    assert.equal((await server.cli('group', 'add', 'mum')).code, 1)
    assert.equal((await server.cli('group', 'set', 'queue', '--ring', 'often')).code, 2)
    assert.equal((await server.cli('group', 'remove', 'queue')).code, 0)
    assert.equal((await phone('mum').call('queue')).status, 404)
  })

  it('leaves nothing behind', async () => {
    const user = 'zoe'
    const zoe = await openMember({ server, user, password: await server.addUser(user) })
    const dialogs = async () => {
      const text = await (await fetch(`http://127.0.0.1:${server.ports.http}/metrics`)).text()
      return Number(/vaartha_engine_objects\{kind="dialogs"\} (\d+)/.exec(text)?.[1])
    }
    after(() => zoe.close())
    const before = await dialogs()
    for (let i = 0; i < 10; i++) {
      const ok = await zoe.call('meet')
      const address = /<sip:(meet-[^@]*)@/.exec(ok.header('Contact'))?.[1] ?? ''
      assert.equal(await zoe.subscribe(address), 200)
      assert.equal(await zoe.refer('<sip:mum@vaartha.local>'), 202)
      await zoe.until(() => zoe.members.size === 2, 'mum')
      await zoe.hangUp()
      assert.equal(await phone('mum').info({ do: 'end' }), 200)
      await phone('mum').until(() => phone('mum').ended, 'the end')
    }
    const until = Date.now() + 5000
    for (let now = await dialogs(); now !== before; now = await dialogs()) {
      assert.ok(Date.now() < until, `${now} dialogs, ${before} before`)
      await new Promise(resolve => setTimeout(resolve, 100))
    }
  })
})
