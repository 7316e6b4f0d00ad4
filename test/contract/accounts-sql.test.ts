import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { createSqlAccounts } from '../../src/accounts/accounts-sql.ts'
import { openDatabase } from '../../src/database/database.ts'
import { createEvents } from '../../src/events.ts'
import { createSilentLog } from '../../src/log.ts'
import { accountsContract } from './accounts.contract.ts'

async function open(file: string, mostCached?: number) {
  const database = await openDatabase(file, createSilentLog())
  const accounts = createSqlAccounts({
    database,
    events: createEvents(),
    checkMs: 0,
    ...(mostCached === undefined ? {} : { mostCached }),
  })
  return { accounts, close: () => database.close() }
}

async function inFile<T>(run: (file: string) => Promise<T>): Promise<T> {
  const directory = await mkdtemp(join(tmpdir(), 'vaartha-'))
  return run(join(directory, 'a.db')).finally(() => rm(directory, { recursive: true }))
}

describe('accounts in memory', () => accountsContract(() => open(':memory:')))
describe('accounts without a cache', () => accountsContract(() => open(':memory:', 0)))
describe('accounts in a file', () =>
  accountsContract(async () => {
    const directory = await mkdtemp(join(tmpdir(), 'vaartha-'))
    const { accounts, close } = await open(join(directory, 'a.db'))
    return { accounts, close: () => close().then(() => rm(directory, { recursive: true })) }
  }))

describe('accounts in a file of two processes', () => {
  it('sees what the other one wrote', () =>
    inFile(async file => {
      const one = await open(file)
      const two = await open(file)
      assert.equal(await one.accounts.find('mum', 'home.test'), undefined)
      await two.accounts.add({ user: 'mum', domain: 'home.test' })
      assert.equal((await one.accounts.find('mum', 'home.test'))?.enabled, true)
      await two.accounts.setEnabled('mum', 'home.test', false)
      assert.equal((await one.accounts.find('mum', 'home.test'))?.enabled, false)
      await one.close()
      await two.close()
    }))
})
