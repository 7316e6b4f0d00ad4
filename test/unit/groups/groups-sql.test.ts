import assert from 'node:assert/strict'
import { after, it } from 'node:test'
import { createSqlAccounts } from '../../../src/accounts/accounts-sql.ts'
import { openDatabase } from '../../../src/database/database.ts'
import { createEvents } from '../../../src/events.ts'
import { createSqlGroups } from '../../../src/groups/groups-sql.ts'
import { createSilentLog } from '../../../src/log.ts'

const database = await openDatabase(':memory:', createSilentLog())
const accounts = createSqlAccounts({ database, events: createEvents() })
const groups = createSqlGroups({ database })
const domain = 'example.org'
for (const user of ['mum', 'dad', 'kid']) await accounts.add({ user, domain })
after(() => database.close())

it('keeps a group with its members in the order of ringing', async () => {
  const group = await groups.add({ name: 'Family', domain, members: ['mum', 'Dad'], moderators: ['mum'], most: 5 })
  const { created, ...rest } = group
  assert.ok(Date.parse(created) > 0)
  assert.deepEqual(rest, {
    name: 'family',
    domain,
    displayName: '',
    members: ['mum', 'dad'],
    moderators: ['mum'],
    ring: 'all',
    record: false,
    announce: true,
    pin: false,
    most: 5,
  })
  assert.deepEqual(await groups.get('FAMILY', domain), group)
  assert.equal(await groups.has('family', domain), true)
  assert.equal(await groups.has('mum', domain), false)
})

it('changes what is named and nothing else', async () => {
  const group = await groups.change('family', domain, { members: ['kid', 'mum'], ring: 'order', most: 0 })
  assert.deepEqual(group.members, ['kid', 'mum'])
  assert.deepEqual(group.moderators, ['mum'])
  assert.equal(group.ring, 'order')
  assert.equal('most' in group, false)
  assert.equal((await groups.change('family', domain, { displayName: 'Us' })).displayName, 'Us')
})

it('keeps what a group wants kept of its meetings, and forgets it', async () => {
  assert.equal((await groups.change('family', domain, { replication: 'lazy' })).replication, 'lazy')
  assert.equal((await groups.change('family', domain, { most: 7 })).replication, 'lazy')
  assert.equal('replication' in (await groups.change('family', domain, { replication: 'configured', most: 0 })), false)
  const wrong = { replication: 'twice' as never }
  await assert.rejects(groups.change('family', domain, wrong), { code: 'bad-request' })
})

it('knows the PIN without keeping it', async () => {
  assert.equal(await groups.checkPin('family', domain, 'whatever'), true)
  assert.equal((await groups.change('family', domain, { pin: '4711' })).pin, true)
  assert.equal(await groups.checkPin('family', domain, '4711'), true)
  assert.equal(await groups.checkPin('family', domain, '4712'), false)
  const row = await database.query.selectFrom('groups').select('pin').executeTakeFirstOrThrow()
  assert.doesNotMatch(row.pin ?? '', /4711/)
  assert.equal((await groups.change('family', domain, { pin: '' })).pin, false)
})

it('gives no name to both an account and a group', async () => {
  const taken = { code: 'already-exists', message: /account/ }
  await assert.rejects(groups.add({ name: 'mum', domain }), taken)
  await assert.rejects(groups.add({ name: 'family', domain }), { code: 'already-exists', message: /group/ })
  await assert.rejects(accounts.add({ user: 'family', domain }), { code: 'already-exists', message: /group/ })
})

it('refuses strangers as members, and nonsense', async () => {
  await assert.rejects(groups.add({ name: 'club', domain, members: ['mum', 'nobody'] }), { code: 'bad-request' })
  assert.equal(await groups.has('club', domain), false)
  for (const wrong of [{ pin: '12' }, { pin: 'abcd' }, { most: 1 }, { most: 1.5 }, { displayName: 'a\r\nb' }]) {
    await assert.rejects(groups.change('family', domain, wrong), { code: 'bad-request' }, JSON.stringify(wrong))
  }
  for (const name of ['a b', '', 'meet', 'Meet-x7kd2m', 'echo']) {
    await assert.rejects(groups.add({ name, domain }), { code: 'bad-request' }, name)
    await assert.rejects(accounts.add({ user: name, domain }), { code: 'bad-request' }, name)
  }
  await assert.rejects(groups.change('none', domain, {}), { code: 'not-found' })
  await assert.rejects(groups.remove('none', domain), { code: 'not-found' })
})

it('forgets members whose account is removed, and is removed itself', async () => {
  await accounts.remove('kid', domain)
  assert.deepEqual((await groups.get('family', domain))?.members, ['mum'])
  await groups.remove('family', domain)
  assert.equal(await groups.has('family', domain), false)
  assert.deepEqual(await groups.list(domain), [])
  await accounts.add({ user: 'family', domain })
})
