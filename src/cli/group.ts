import { join } from 'node:path'
import { type Command, Option } from 'commander'
import { openDataDirectory } from '../config/data-directory.ts'
import type { Config } from '../config/schema.ts'
import { openDatabase } from '../database/database.ts'
import { Refusal } from '../errors.ts'
import { createSqlGroups } from '../groups/groups-sql.ts'
import type { MeetingView } from '../groups/meeting-view.ts'
import { type Group, type GroupChange, type GroupStore, type Ring, replications, rings } from '../groups/store.ts'
import { createSilentLog } from '../log.ts'
import { ask } from './ask.ts'
import type { Load } from './load.ts'
import { duration, remark, say, sayJson, table } from './print.ts'

interface Options {
  members?: string
  moderators?: string
  displayName?: string
  ring?: Ring
  record?: boolean
  announce?: boolean
  pin?: string | false
  most?: string
  replication?: (typeof replications)[number]
  json?: boolean
}

/** `vaartha group …` works on the database itself, so also while no server runs; `vaartha meetings` asks the server. */
export function addGroup(program: Command, load: Load): void {
  const group = program.command('group').description('addresses that reach several people at once')

  withOptions(group.command('add <name>').description('make a group')).action((name: string, options: Options) =>
    withGroups(load, async (groups, { domain }) => {
      const added = await groups.add({ name, domain, ...readOptions(options) })
      if (options.json) return sayJson(added)
      say(`address  sip:${added.name}@${added.domain}`)
      say(`members  ${added.members.join(', ') || 'none yet'}`)
    }),
  )

  withOptions(group.command('set <name>').description('change what is named, and leave the rest')).action(
    (name: string, options: Options) =>
      withGroups(load, async (groups, { domain }) => {
        const changed = await groups.change(name, domain, readOptions(options))
        if (options.json) return sayJson(changed)
        sayGroup(changed)
      }),
  )

  group
    .command('list')
    .description('all groups')
    .option('--json', 'print JSON')
    .action((options: { json?: boolean }) =>
      withGroups(load, async groups => {
        const list = await groups.list()
        if (options.json) return sayJson(list)
        const rows = list.map(g => [g.name, g.domain, g.displayName, g.ring, g.members.join(', ')])
        const none = 'No groups yet. Make one with: vaartha group add family --members mum,dad'
        say(table(['group', 'domain', 'name', 'rings', 'members'], rows, none))
      }),
    )

  group
    .command('show <name>')
    .description('one group with all its settings')
    .option('--json', 'print JSON')
    .action((name: string, options: { json?: boolean }) =>
      withGroups(load, async (groups, { domain }) => {
        const found = await groups.get(name, domain)
        if (found === undefined) throw new Refusal('not-found', `there is no group ${name}@${domain}`)
        if (options.json) return sayJson(found)
        sayGroup(found)
      }),
    )

  group
    .command('remove <name>')
    .description('remove a group')
    .action((name: string) =>
      withGroups(load, async (groups, { domain }) => {
        await groups.remove(name, domain)
        remark(`${name}@${domain} is removed.`)
      }),
    )

  program
    .command('meetings')
    .description('meetings going on')
    .option('--json', 'print JSON')
    .action(async (options: { json?: boolean }) => {
      const list = await ask<MeetingView[]>(load().config, '/api/meetings')
      if (options.json) return sayJson(list)
      const rows = list.map(m => [
        m.id,
        m.address,
        m.shape + (m.changing ? ' …' : ''),
        duration((Date.now() - Date.parse(m.since)) / 1000),
        [m.locked ? 'locked' : '', m.recording ? 'recording' : ''].filter(word => word !== '').join(', '),
        m.members.map(one => `${one.id} ${one.user}${one.muted ? ' (muted)' : ''}`).join(', '),
      ])
      say(table(['id', 'address', 'shape', 'for', '', 'members'], rows, 'No meeting is going on.'))
    })
}

function withOptions(command: Command): Command {
  return command
    .option('-m, --members <users>', 'who is in it, with commas between, in the order of ringing')
    .option('--moderators <users>', 'who may mute, remove and lock')
    .option('-n, --display-name <text>', 'name that is shown when it calls')
    .addOption(new Option('--ring <whom>', 'whom the first caller rings').choices([...rings]))
    .option('--record', 'record each meeting')
    .option('--no-record', 'record only when a moderator wishes')
    .option('--announce', 'a tone when somebody comes or goes')
    .option('--no-announce', 'no such tone')
    .option('--pin <digits>', 'what others than members must type')
    .option('--no-pin', 'no PIN')
    .option('--most <number>', 'most people at once; 0 is as configured')
    .addOption(new Option('--replication <what>', 'what other nodes have of its meetings').choices([...replications]))
    .option('--json', 'print JSON')
}

function readOptions({
  members,
  moderators,
  displayName,
  ring,
  record,
  announce,
  pin,
  most,
  replication,
}: Options): GroupChange {
  return {
    ...(members === undefined ? {} : { members: readUsers(members) }),
    ...(moderators === undefined ? {} : { moderators: readUsers(moderators) }),
    ...(displayName === undefined ? {} : { displayName }),
    ...(ring === undefined ? {} : { ring }),
    ...(record === undefined ? {} : { record }),
    ...(announce === undefined ? {} : { announce }),
    ...(pin === undefined ? {} : { pin: pin === false ? '' : pin }),
    ...(most === undefined ? {} : { most: Number(most) }),
    ...(replication === undefined ? {} : { replication }),
  }
}

function readUsers(text: string): string[] {
  return text
    .split(',')
    .map(user => user.trim())
    .filter(user => user !== '')
}

function sayGroup(group: Group): void {
  say(`address     sip:${group.name}@${group.domain}`)
  say(`name        ${group.displayName}`)
  say(`members     ${group.members.join(', ')}`)
  say(`moderators  ${group.moderators.join(', ')}`)
  say(`rings       ${group.ring}`)
  say(`records     ${group.record ? 'always' : 'when a moderator wishes'}`)
  say(`announces   ${group.announce ? 'yes' : 'no'}`)
  say(`PIN         ${group.pin ? 'for others than members' : 'none'}`)
  say(`most        ${group.most ?? 'as configured'}`)
  say(`replication ${group.replication ?? 'as configured'}`)
}

async function withGroups(load: Load, work: (groups: GroupStore, config: Config) => Promise<void>): Promise<void> {
  const { config } = load()
  openDataDirectory(config.data)
  const database = await openDatabase(join(config.data, 'vaartha.sqlite'), createSilentLog())
  try {
    await work(createSqlGroups({ database }), config)
  } finally {
    await database.close()
  }
}
