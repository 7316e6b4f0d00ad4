import type { Command } from 'commander'
import { ask } from './ask.ts'
import type { Load } from './load.ts'
import { qrCode, remark, say, sayJson } from './print.ts'

/** `vaartha invite <user>`: a link, and a code to scan, that signs one browser in as this person, once. */
export function addInvite(program: Command, load: Load): void {
  program
    .command('invite <user>')
    .description('print a link and a QR code that open the web phone as this person, once, within a week')
    .option('--json', 'print JSON')
    .action(async (user: string, options: { json?: boolean }) => {
      const path = `/api/accounts/${encodeURIComponent(user)}/invitations`
      const invitation = await ask<{ link: string; ends: string }>(load().config, path, 'POST')
      if (options.json) return sayJson(invitation)
      say(invitation.link)
      remark(`\nFor one browser, until ${invitation.ends.slice(0, 16).replace('T', ' ')} UTC. Scan it with a phone:`)
      remark(qrCode(invitation.link))
    })
}
