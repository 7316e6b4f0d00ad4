import assert from 'node:assert/strict'
import { after, afterEach, before, describe, it } from 'node:test'
import { type Member, openMember } from '../support/member.ts'
import { freePorts, startVaartha, type TestServer } from '../support/server.ts'

// What browsers are told when a meeting changes its shape, and what they may do; these browsers have no media.

describe('shapes of a meeting', { concurrency: false }, () => {
  let server: TestServer
  const browsers: Member[] = []
  let phone: Member
  const users = ['ann', 'ben', 'cat', 'dan']

  before(async () => {
    const [port] = (await freePorts(1)) as [number]
    server = await startVaartha({ settings: { VAARTHA_MEDIA_PORT: String(port) } })
    for (const user of users) {
      const password = await server.addUser(user)
      browsers.push(await openMember({ server, user, password, browser: true }))
    }
    phone = await openMember({ server, user: 'eve', password: await server.addUser('eve'), tone: 440 })
    const { code, stderr } = await server.cli('group', 'add', 'team', '--members', `${users},eve`, '--ring', 'nobody')
    assert.equal(code, 0, stderr)
  })
  after(async () => {
    for (const member of [...browsers, phone]) member?.close()
    await server.close()
  })
  afterEach(async () => {
    for (const { id } of await server.api<{ id: string }[]>('/api/meetings'))
      await server.api(`/api/meetings/${id}/end`, 'POST').catch(() => undefined)
    for (const member of [...browsers, phone]) {
      await member.endPairs()
      await member.until(() => member.ended, 'the end')
      member.offers.length = member.invites.length = 0
    }
  })

  const shapeOf = (member: Member) => {
    const { shape = '', state = '', members = '' } = member.roster?.topology ?? {}
    return `${shape} ${state} ${members}`.trim()
  }
  const until = (member: Member, text: string, ms?: number) => member.until(() => shapeOf(member) === text, text, ms)
  const epoch = (member: Member) => Number(member.roster!.topology['epoch'])

  async function join(member: Member): Promise<void> {
    assert.equal(await member.subscribe('team'), 200)
    const ok = await member.call('team', ['Vaartha-Mesh: 1'])
    assert.equal(ok.status, 200, ok.text)
  }

  /** Tells that all pairs of the mesh stand. */
  async function connect(...some: Member[]): Promise<void> {
    const ids = (shapeOf(some[0]!).match(/\d+/g) ?? []).map(Number)
    for (const [at, member] of some.entries()) {
      const connected = ids.filter(id => id !== ids[at])
      assert.equal(await member.info({ epoch: epoch(member), connected, failed: [] }), 200)
    }
  }

  it('goes from the SFU to direct, to the SFU for who comes, and to a mesh', async () => {
    const [ann, ben, cat] = browsers as [Member, Member, Member]
    await join(ann)
    await join(ben)
    await until(ann, 'direct preparing 1 2')
    await until(ben, 'direct preparing 1 2')
    await connect(ann, ben)
    await until(ann, 'direct settled 1 2')
    await ann.until(() => ann.offers.length === 1, 'being put to rest')
    assert.deepEqual(ann.offers[0]!.directions, ['inactive'])
    await join(cat)
    await until(ann, 'sfu preparing')
    await ann.until(() => ann.offers.length === 2, 'being woken')
    await ben.until(() => ben.offers.length === 2, 'being woken')
    assert.deepEqual(ann.offers[1]!.directions, ['sendrecv'])
    for (const one of [ann, ben]) assert.equal(await one.info({ epoch: epoch(one), ready: true }), 200)
    await until(cat, 'sfu settled')
    await until(cat, 'mesh preparing 1 2 3')
    await until(ann, 'mesh preparing 1 2 3')
    await until(ben, 'mesh preparing 1 2 3')
    await connect(ann, ben, cat)
    await until(cat, 'mesh settled 1 2 3')
    const [meeting] = await server.api<{ shape: string }[]>('/api/meetings')
    assert.equal(meeting!.shape, 'mesh')
  })

  it('lets members of a mesh call each other, and nobody else in their name', async () => {
    const [ann, ben, cat] = browsers as [Member, Member, Member]
    await join(ann)
    await join(ben)
    await until(ann, 'direct preparing 1 2')
    const [{ id }] = (await server.api<[{ id: string }]>('/api/meetings'))!
    const at = ann.endpointOf('2')
    assert.match(at, /^sip:ben@vaartha\.local;gr=/)
    const word = `Vaartha-Mesh: ${id};epoch=${epoch(ann)};from=1;to=2`
    assert.equal((await ann.pair(at, word)).status, 200)
    assert.equal(ben.invites.at(-1)!.header('Vaartha-Mesh'), word.slice('Vaartha-Mesh: '.length))
    // Cat is no member: her word is taken off, and Ben takes it for an ordinary call.
    assert.equal((await cat.pair(at, word)).status, 200)
    assert.equal(ben.invites.at(-1)!.header('Vaartha-Mesh'), '')
    await ann.endPairs()
    await cat.endPairs()
    // For a pair that is not wanted nobody's phone rings.
    const rung = ben.invites.length
    assert.equal((await ann.pair(at, word.replace('to=2', 'to=3'))).status, 480)
    assert.equal((await ann.pair(at, word.replace(/epoch=\d+/, 'epoch=999'))).status, 480)
    assert.equal(ben.invites.length, rung)
    const history = async () => (await server.api<{ from: string }[]>('/api/history')).map(call => call.from)
    assert.deepEqual(await history(), ['sip:cat@vaartha.local'])
  })

  it('rolls back when a pair fails, and stays on the SFU when a phone is in', async () => {
    const [ann, ben] = browsers as [Member, Member]
    await join(ann)
    await join(ben)
    await until(ann, 'direct preparing 1 2')
    const before = epoch(ann)
    assert.equal(await ann.info({ epoch: before, connected: [], failed: [2] }), 200)
    await until(ben, 'sfu settled')
    assert.equal(epoch(ben), before + 1)
    assert.equal((await phone.call('team')).status, 200)
    await ann.until(() => ann.members.size === 3, 'the phone')
    assert.equal(shapeOf(ann), 'sfu settled')
  })

  it('tells metrics and facts of what happened', async () => {
    const text = await (await fetch(`http://127.0.0.1:${server.ports.http}/metrics`)).text()
    assert.match(text, /vaartha_topology_changes_total\{from="sfu",to="direct",result="rolled-back"\} 1/)
    assert.match(text, /vaartha_topology_changes_total\{from="sfu",to="mesh",result="done"\} 1/)
    assert.match(text, /vaartha_meetings_total 3/)
    assert.match(text, /vaartha_active_meetings 0/)
  })
})
