import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { Refusal } from '../../../src/errors.ts'
import type { Recording } from '../../../src/groups/recorder.ts'
import type { Action } from '../../../src/groups/wish.ts'
import { startTestHttp, type TestHttp } from '../../support/http.ts'

describe('groups, meetings and recordings over HTTP', () => {
  const folder = mkdtempSync(join(tmpdir(), 'vaartha-recordings-'))
  const done: [string, Action][] = []
  const recordings: Recording[] = [
    {
      id: 'r1',
      meeting: 'm1',
      address: 'sip:family@example.org',
      started: '2026-01-01T00:00:00.000Z',
      ended: '2026-01-01T00:01:00.000Z',
      seconds: 60,
      people: ['sip:mum@example.org'],
      files: ['r1.ogg', 'r2.ogg'].map(file => ({ file, speaker: '', seconds: 60, bytes: 4 })),
      node: 'b',
    },
  ]
  let t: TestHttp
  before(async () => {
    writeFileSync(join(folder, 'r1.ogg'), 'OggS')
    t = await startTestHttp({
      meetings: {
        list: () => [],
        isOn: async () => false,
        act: async (id, action) => {
          if (id !== 'm1') throw new Refusal('not-found', 'there is no such meeting')
          done.push([id, action])
        },
      },
      recordings: {
        list: async () => recordings,
        get: async id => recordings.find(one => one.id === id),
        path: file => join(folder, file),
        remove: async () => void recordings.splice(0),
      },
    })
    for (const user of ['mum', 'dad']) await t.ask('POST', '/api/accounts', { user })
  })
  after(async () => {
    await t.close()
    rmSync(folder, { recursive: true, force: true })
  })

  it('adds, shows, changes and removes groups', async () => {
    const made = await t.ask('POST', '/api/groups', { name: 'family', members: ['mum', 'dad'], pin: '4711' })
    assert.equal(made.status, 201)
    const group = (await made.json()) as Record<string, unknown>
    assert.deepEqual(group['members'], ['mum', 'dad'])
    assert.equal(group['pin'], true)
    const changed = await t.ask('PATCH', '/api/groups/family', { ring: 'order', pin: '' })
    assert.equal(((await changed.json()) as Record<string, unknown>)['ring'], 'order')
    assert.equal(((await (await t.ask('GET', '/api/groups')).json()) as unknown[]).length, 1)
    assert.equal((await t.ask('POST', '/api/groups', { name: 'mum' })).status, 409)
    assert.equal((await t.ask('POST', '/api/accounts', { user: 'family' })).status, 409)
    assert.equal((await t.ask('POST', '/api/groups', { name: 'club', members: ['nobody'] })).status, 400)
    assert.equal((await t.ask('POST', '/api/groups', { name: 'club', colour: 'red' })).status, 400)
    assert.equal((await t.ask('PATCH', '/api/groups/family', { ring: 'sometimes' })).status, 400)
    assert.equal((await t.ask('DELETE', '/api/groups/family')).status, 204)
    assert.equal((await t.ask('GET', '/api/groups/family')).status, 404)
  })

  it('carries out what an operator wants of a meeting', async () => {
    for (const path of ['lock', 'members/3/mute', 'stop-recording', 'members/3/remove', 'end'])
      assert.equal((await t.ask('POST', `/api/meetings/m1/${path}`)).status, 204, path)
    assert.equal((await t.ask('POST', '/api/meetings/m1/invite', { user: 'kid' })).status, 204)
    assert.deepEqual(
      done.map(([, action]) => action),
      [
        { do: 'lock' },
        { do: 'mute', member: 3 },
        { do: 'stop-recording' },
        { do: 'remove', member: 3 },
        { do: 'end' },
        { do: 'invite', user: 'kid' },
      ],
    )
    assert.equal((await t.ask('POST', '/api/meetings/m2/lock')).status, 404)
    assert.equal((await t.ask('POST', '/api/meetings/m1/dance')).status, 400)
    assert.equal((await t.ask('POST', '/api/meetings/m1/members/x/mute')).status, 400)
    assert.equal((await t.get('/api/meetings')).status, 401)
  })

  it('gives recordings to the administrator and not to strangers', async () => {
    const file = await t.ask('GET', '/api/recordings/r1/r1.ogg')
    assert.equal(file.status, 200)
    assert.equal(file.headers.get('content-type'), 'audio/ogg')
    assert.equal(await file.text(), 'OggS')
    const elsewhere = await t.ask('GET', '/api/recordings/r1/r2.ogg')
    assert.equal(elsewhere.status, 404)
    assert.match(await elsewhere.text(), /node b recorded it/)
    assert.equal((await t.ask('GET', '/api/recordings/r1/..%2Fr1.ogg')).status, 404)
    assert.equal((await t.ask('GET', '/api/recordings/r2/r1.ogg')).status, 404)
    for (const path of ['/api/recordings', '/api/recordings/r1/r1.ogg', '/api/phone/groups'])
      assert.equal((await t.get(path)).status, 401, path)
    assert.equal((await t.ask('DELETE', '/api/recordings/r1')).status, 204)
    assert.deepEqual(await (await t.ask('GET', '/api/recordings')).json(), [])
  })
})
