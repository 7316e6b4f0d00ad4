import assert from 'node:assert/strict'
import { hash } from 'node:crypto'
import { it } from 'node:test'
import type { Accounts } from '../../src/accounts/accounts.ts'

const domain = 'home.test'

/** What every implementation of Accounts does; `open` gives an empty one. */
export function accountsContract(open: () => Promise<{ accounts: Accounts; close: () => Promise<void> }>) {
  const test = (name: string, run: (accounts: Accounts) => Promise<void>) =>
    it(name, async () => {
      const { accounts, close } = await open()
      try {
        await run(accounts)
      } finally {
        await close()
      }
    })

  test('makes an account with a strong password and finds it in any case', async accounts => {
    const { account, password } = await accounts.add({
      user: 'Mum',
      domain,
      displayName: 'Mum',
      roles: ['admin', 'user'],
    })
    assert.match(password, /^[a-z2-9]{4}(-[a-z2-9]{4}){3}$/)
    assert.deepEqual(await accounts.get('mUm', 'HOME.test'), account)
    const found = await accounts.find('MUM', domain)
    assert.equal(found?.ha1['SHA-256'], hash('sha256', `mum:${domain}:${password}`))
    assert.equal(found?.ha1.MD5, hash('md5', `mum:${domain}:${password}`))
    assert.equal(found?.ha1WithDomain.MD5, hash('md5', `mum@${domain}:${domain}:${password}`))
    assert.equal(await accounts.find('dad', domain), undefined)
    assert.equal(await accounts.get('dad', domain), undefined)
  })

  test('refuses bad names, short passwords, doubles and unknown accounts', async accounts => {
    for (const user of ['', 'a b', 'a@b', 'x'.repeat(65), 'a"']) {
      await assert.rejects(accounts.add({ user, domain }), { code: 'bad-request' })
    }
    await assert.rejects(accounts.add({ user: 'a', domain, password: 'too short' }), { code: 'bad-request' })
    await assert.rejects(accounts.add({ user: 'a', domain, displayName: 'a\r\nb' }), { code: 'bad-request' })
    await accounts.add({ user: 'a', domain })
    await assert.rejects(accounts.add({ user: 'A', domain }), { code: 'already-exists' })
    await assert.rejects(accounts.remove('b', domain), { code: 'not-found' })
    await assert.rejects(accounts.setEnabled('b', domain, false), { code: 'not-found' })
    await assert.rejects(accounts.setPassword('b', domain), { code: 'not-found' })
  })

  test('shows every change at once', async accounts => {
    await accounts.add({ user: 'a', domain })
    await accounts.add({ user: 'b', domain: 'other.test' })
    const before = await accounts.find('a', domain)
    await accounts.setEnabled('a', domain, false)
    await accounts.setDisplayName('a', domain, 'Äsop')
    await accounts.noteMd5('a', domain)
    const password = await accounts.setPassword('a', domain, 'a good long one')
    const after = await accounts.find('a', domain)
    assert.equal(password, 'a good long one')
    assert.notEqual(after?.ha1.MD5, before?.ha1.MD5)
    assert.deepEqual([after?.enabled, after?.displayName, after?.md5Seen], [false, 'Äsop', true])
    assert.deepEqual(
      (await accounts.list()).map(one => one.user),
      ['a', 'b'],
    )
    assert.deepEqual(
      (await accounts.list(domain)).map(one => one.user),
      ['a'],
    )
    await accounts.remove('a', domain)
    assert.equal(await accounts.find('a', domain), undefined)
  })
}
