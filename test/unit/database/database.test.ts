import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { after, it } from 'node:test'
import { createSqlAccounts } from '../../../src/accounts/accounts-sql.ts'
import { openDatabase } from '../../../src/database/database.ts'
import { createEvents } from '../../../src/events.ts'
import { createSilentLog } from '../../../src/log.ts'
import { type CallRecord, createRecords } from '../../../src/records/records.ts'

const directory = mkdtempSync(join(tmpdir(), 'vaartha-'))
after(() => rmSync(directory, { recursive: true }))
const log = createSilentLog()

it('makes a file that only its owner reads, and opens it again', async () => {
  const file = join(directory, 'new.db')
  const database = await openDatabase(file, log)
  for (const name of [file, `${file}-wal`]) assert.equal(statSync(name).mode & 0o777, 0o600)
  await database.close()
  await database.close()
  await (await openDatabase(file, log)).close()
})

it('refuses a damaged file, a newer schema and a missing directory in plain words', async () => {
  const damaged = join(directory, 'damaged.db')
  writeFileSync(damaged, 'no database '.repeat(1000))
  await assert.rejects(openDatabase(damaged, log), { code: 'bad-config', message: /damaged/ })
  const newer = join(directory, 'newer.db')
  await (await openDatabase(newer, log)).close()
  const raw = new DatabaseSync(newer)
  raw.exec("insert into migrations values (99, '')")
  raw.close()
  await assert.rejects(openDatabase(newer, log), { code: 'bad-config', message: /newer release/ })
  await assert.rejects(openDatabase(join(directory, 'none', 'a.db'), log), { code: 'bad-config' })
})

const record = (id: string, started: string, from = 'mum@home.test'): CallRecord => ({
  id,
  from,
  to: 'dad@home.test',
  started,
  ended: started,
  seconds: 0,
  result: 'busy',
  status: 486,
  reason: 'Busy Here',
  legs: [{ aor: 'dad@home.test', userAgent: 'baresip' }],
})

it('keeps call records, newest first, and prunes the old', async () => {
  const database = await openDatabase(':memory:', log)
  const records = createRecords({ database, events: createEvents(), now: () => Date.parse('2026-01-10T00:00:00Z') })
  const old = record('1', '2026-01-01T00:00:00.000Z')
  const young = record('2', '2026-01-09T00:00:00.000Z', 'kid@home.test')
  records.add(old)
  records.add(young)
  records.add(old)
  assert.deepEqual(await records.list(), [young, old])
  assert.deepEqual(await records.list({ user: 'mum@home.test' }), [old])
  assert.deepEqual(await records.list({ before: young.started, limit: 1 }), [old])
  assert.equal(await records.prune(5), 1)
  await records.close()
  assert.equal((await database.query.selectFrom('calls').selectAll().execute()).length, 1)
  await database.close()
})

it('keeps records while the store fails, at most so many, and writes them when it works', async () => {
  const database = await openDatabase(':memory:', log)
  const events = createEvents()
  const failed = new Promise(resolve => events.on('storeFailed', resolve))
  const recovered = new Promise(resolve => events.on('storeRecovered', resolve))
  await database.query.schema.alterTable('calls').renameTo('away').execute()
  const records = createRecords({ database, events, everyMs: 1, mostWaiting: 2 })
  for (const id of ['1', '2', '3']) records.add(record(id, `2026-01-0${id}T00:00:00.000Z`))
  await failed
  await database.query.schema.alterTable('away').renameTo('calls').execute()
  await recovered
  assert.deepEqual(
    (await records.list()).map(one => one.id),
    ['3', '2'],
  )
  await records.close()
  await database.close()
})

const recording = {
  id: 'r',
  meeting: '',
  address: '',
  started: '',
  ended: '',
  seconds: 0,
  people: '',
  files: '',
  node: '',
}

it('tells of changes that others make of accounts and groups, and of nothing else', async () => {
  const file = join(directory, 'two.db')
  const [own, other] = [await openDatabase(file, log), await openDatabase(file, log)]
  const accounts = createSqlAccounts({ database: other, events: createEvents() })
  let version = own.version()
  const changed = async (work: Promise<unknown>) => {
    await work
    const before = version
    version = own.version()
    return version !== before
  }
  const domain = 'home.test'
  assert.ok(await changed(accounts.add({ user: 'mum', domain })))
  assert.ok(await changed(accounts.setEnabled('mum', domain, false)))
  assert.ok(!(await changed(accounts.noteMd5('mum', domain))))
  assert.ok(!(await changed(other.query.insertInto('recordings').values(recording).execute())))
  assert.ok(await changed(accounts.remove('mum', domain)))
  await own.close()
  await other.close()
})
