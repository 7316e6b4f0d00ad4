import { Command, CommanderError } from 'commander'
import { loadConfig } from '../config/load.ts'
import { Refusal } from '../errors.ts'
import { NotRunning } from './ask.ts'
import type { Load } from './load.ts'
import { remark } from './print.ts'

// Exit codes: 0 done, 1 refused or failed, 2 wrong use, 3 no server runs, 4 `doctor` found something broken.

/** Runs one command of `vaartha` and sets the exit code. */
export async function runCli(args: string[]): Promise<void> {
  const program = new Command('vaartha')
    .description('Self-hosted voice, meeting and message server')
    .option('-c, --config <file>', 'configuration file (default: config/vaartha.yaml, or VAARTHA_CONFIG)')
    .option('-d, --data <directory>', 'data directory, in place of the configured one')
    .exitOverride()
    .showSuggestionAfterError()
  const load: Load = () => {
    const { config, data } = program.opts<{ config?: string; data?: string }>()
    return loadConfig({ ...process.env, ...(data === undefined ? {} : { VAARTHA_DATA: data }) }, config)
  }
  try {
    await addCommands(program, load, args[0])
    await program.parseAsync(args, { from: 'user' })
  } catch (error) {
    process.exitCode = report(error)
  }
}

/** Commands are loaded when they are needed: `user list` must not wait for the whole server to be read. */
async function addCommands(program: Command, load: Load, first: string | undefined): Promise<void> {
  const groups: Record<string, () => Promise<(program: Command, load: Load) => void>> = {
    serve: async () => (await import('./serve.ts')).addServe,
    user: async () => (await import('./user.ts')).addUser,
    group: async () => (await import('./group.ts')).addGroup,
    invite: async () => (await import('./invite.ts')).addInvite,
    status: async () => (await import('./status.ts')).addStatus,
    media: async () => (await import('./media.ts')).addMedia,
    nodes: async () => (await import('./nodes.ts')).addNodes,
    dns: async () => (await import('./dns.ts')).addDns,
    pair: async () => (await import('./pair.ts')).addPair,
    drill: async () => (await import('./drill.ts')).addDrill,
    doctor: async () => (await import('./doctor.ts')).addDoctor,
    config: async () => (await import('./config.ts')).addConfig,
  }
  const owner: Record<string, string> = {
    registrations: 'status',
    calls: 'status',
    meetings: 'group',
    admin: 'status',
    docs: 'config',
  }
  const group = first === undefined ? undefined : groups[owner[first] ?? first]
  // Help and mistyped words need all of them.
  for (const add of group === undefined ? Object.values(groups) : [group]) (await add())(program, load)
}

function report(error: unknown): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2
  if (error instanceof NotRunning) {
    remark(`vaartha: ${error.message}`)
    return 3
  }
  if (error instanceof Refusal) {
    remark(`vaartha: ${error.message}`)
    return 1
  }
  remark(`vaartha: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`)
  return 1
}
