import type { Command } from 'commander'
import type { Member } from '../cluster/members.ts'
import { ask } from './ask.ts'
import type { Load } from './load.ts'
import { duration, remark, say, sayJson, table } from './print.ts'

/** `vaartha nodes` asks the running server who else is there. */
export function addNodes(program: Command, load: Load): void {
  program
    .command('nodes')
    .description('the nodes of this cluster, how they are and what they do')
    .option('--drain <node>', 'let this node take nothing new, and give away what it can')
    .option('--undrain <node>', 'let a node that drains take new work again')
    .option('--json', 'print JSON')
    .action(async (options: { drain?: string; undrain?: string; json?: boolean }) => {
      const { config } = load()
      if (options.drain !== undefined) {
        await ask<object>(config, `/api/nodes/${encodeURIComponent(options.drain)}/drain`, 'POST')
        return remark(`${options.drain} takes nothing new; it ends by itself when it was told to stop.`)
      }
      if (options.undrain !== undefined) {
        await ask<object>(config, `/api/nodes/${encodeURIComponent(options.undrain)}/drain`, 'DELETE')
        return remark(`${options.undrain} takes new work again.`)
      }
      const list = await ask<Member[]>(config, '/api/nodes')
      if (options.json) return sayJson(list)
      say(
        table(['node', 'state', 'priority', 'does', 'share', 'up', 'load', 'version'], list.map(row), 'There is none.'),
      )
    })
}

function row(member: Member): string[] {
  const { leads, ...load } = member.load
  const away = (Date.now() - member.seen) / 1000
  return [
    leads === 1 && member.state !== 'down' ? `${member.node} (leads)` : member.node,
    away > 5 ? `${member.state} for ${duration(away)}` : member.state,
    String(member.priority),
    member.roles.join(', '),
    `${Math.round(member.weight * 100)} %`,
    member.state === 'down' ? '' : duration((Date.now() - member.since) / 1000),
    Object.entries(load).map(([what, value]) => `${what} ${value}`).join(', '), // biome-ignore format: one line
    member.version,
  ]
}
