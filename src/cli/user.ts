import { join } from 'node:path'
import type { Command } from 'commander'
import type { Account, Accounts } from '../accounts/accounts.ts'
import { createSqlAccounts } from '../accounts/accounts-sql.ts'
import { openDataDirectory } from '../config/data-directory.ts'
import type { Config } from '../config/schema.ts'
import { openDatabase } from '../database/database.ts'
import { createEvents } from '../events.ts'
import { createSilentLog } from '../log.ts'
import type { Load } from './load.ts'
import { qrCode, remark, say, sayJson, table } from './print.ts'

/** `vaartha user …`: works on the database itself, so also while no server runs. */
export function addUser(program: Command, load: Load): void {
  const user = program.command('user').description('the people who may use this server')

  user
    .command('add <name>')
    .description('make an account and print its password once')
    .option('-n, --display-name <text>', 'name that others see when this person calls')
    .option('--admin', 'may administrate the server')
    .option('-p, --password-stdin', 'read the password from standard input instead of making one')
    .option('--json', 'print JSON')
    .action(
      (name: string, options: { displayName?: string; admin?: boolean; passwordStdin?: boolean; json?: boolean }) =>
        withAccounts(load, async (accounts, config) => {
          const added = await accounts.add({
            user: name,
            domain: config.domain,
            ...(options.displayName === undefined ? {} : { displayName: options.displayName }),
            ...(options.admin ? { roles: ['admin', 'user'] as const } : {}),
            ...(options.passwordStdin ? { password: await readPassword() } : {}),
          })
          if (options.json) return sayJson({ ...added.account, password: added.password })
          printCredentials(added.account, added.password)
        }),
    )

  user
    .command('list')
    .description('all accounts')
    .option('--json', 'print JSON')
    .action((options: { json?: boolean }) =>
      withAccounts(load, async accounts => {
        const list = await accounts.list()
        if (options.json) return sayJson(list)
        const rows = list.map(a => [
          a.user,
          a.domain,
          a.displayName,
          a.enabled ? 'yes' : 'no',
          a.roles.join(' '),
          a.md5Seen ? 'yes' : 'no',
        ])
        say(
          table(
            ['user', 'domain', 'name', 'enabled', 'roles', 'uses MD5'],
            rows,
            'Nobody yet. Add a person with: vaartha user add mum',
          ),
        )
      }),
    )

  user
    .command('remove <name>')
    .description('remove an account')
    .action((name: string) =>
      withAccounts(load, async (accounts, config) => {
        await accounts.remove(name, config.domain)
        remark(`${name}@${config.domain} is removed.`)
      }),
    )

  user
    .command('password <name>')
    .description('set a new password and print it once')
    .option('-p, --password-stdin', 'read the password from standard input instead of making one')
    .option('--json', 'print JSON')
    .action((name: string, options: { passwordStdin?: boolean; json?: boolean }) =>
      withAccounts(load, async (accounts, config) => {
        const given = options.passwordStdin ? await readPassword() : undefined
        const password = await accounts.setPassword(name, config.domain, given)
        const account = await accounts.get(name, config.domain)
        if (options.json) return sayJson({ ...account, password })
        if (account !== undefined) printCredentials(account, password)
      }),
    )

  for (const [verb, enabled] of [
    ['enable', true],
    ['disable', false],
  ] as const) {
    user
      .command(`${verb} <name>`)
      .description(enabled ? 'let a disabled account in again' : 'keep an account but let it in no more')
      .action((name: string) =>
        withAccounts(load, async (accounts, config) => {
          await accounts.setEnabled(name, config.domain, enabled)
          remark(`${name}@${config.domain} is ${verb}d.`)
        }),
      )
  }
}

function printCredentials(account: Account, password: string): void {
  const address = `sip:${account.user}@${account.domain}`
  say(`address   ${address}`)
  say(`user      ${account.user}`)
  say(`password  ${password}`)
  say(`server    ${account.domain}`)
  remark('\nThe password is shown this once. Type these into a softphone, or scan them:')
  remark(qrCode(`${address};password=${encodeURIComponent(password)}`))
}

async function withAccounts(load: Load, work: (accounts: Accounts, config: Config) => Promise<void>): Promise<void> {
  const { config } = load()
  openDataDirectory(config.data)
  const database = await openDatabase(join(config.data, 'vaartha.sqlite'), createSilentLog())
  try {
    await work(createSqlAccounts({ database, events: createEvents() }), config)
  } finally {
    await database.close()
  }
}

async function readPassword(): Promise<string> {
  let text = ''
  for await (const chunk of process.stdin.setEncoding('utf8')) text += chunk
  return text.replace(/\r?\n$/, '')
}
