import type { Command } from 'commander'
import { Refusal } from '../errors.ts'
import { createLog, type Logger } from '../log.ts'
import { type Server, startServer } from '../server.ts'
import type { Load } from './load.ts'
import { qrCode, remark, say, table } from './print.ts'

const drainMs = 5000
// A terminal's Ctrl-C and the launcher's copy of it arrive together and mean one wish.
const sameWishMs = 500

/** `vaartha serve`: runs the server until a signal ends it. */
export function addServe(program: Command, load: Load): void {
  program
    .command('serve')
    .description(
      'run the server; SIGTERM or SIGINT drain it and end it: within five seconds, a node of a cluster after cluster.drainSeconds',
    )
    .option('-q, --quiet', 'print no welcome')
    .action(async (options: { quiet?: boolean }) => {
      const { config } = load()
      const log = createLog(config.log)
      const stop = onSignals(log)
      guardProcess(log)
      const server = await startServer(config, log)
      stop.when(() => server.close())
      const limitMs = config.cluster.drainSeconds * 1000
      // A node by itself has nobody to give its calls to.
      if (config.cluster.name !== '') stop.before(limitMs, () => server.drain(limitMs))
      giveBackMemory()
      log.info({ domain: config.domain, data: config.data, seconds: Math.round(performance.now()) / 1000 }, 'ready')
      if (options.quiet) return
      if (config.cluster.roles.includes('sip')) await welcome(server)
      else say(`Vaartha carries media for the other nodes, as node ${config.cluster.name}; they say what it does.`)
    })
}

/**
 * Reading and compiling the sources leaves 20 MB behind that V8 keeps until there is much work to do, which at home
 * there never is. Done once, before anybody waits for an answer; nodeFlags make `gc` known.
 */
function giveBackMemory(): void {
  globalThis.gc?.({ type: 'major', execution: 'sync', flavor: 'last-resort' })
}

/** The first signal closes the server, the second one ends the process at once. */
function onSignals(log: Logger) {
  let first = 0
  let drain: { ms: number; how: () => Promise<number> } | undefined
  let close: (() => Promise<void>) | undefined
  const handle = async (signal: NodeJS.Signals) => {
    if (first > 0) {
      if (Date.now() - first < sameWishMs) return
      log.warn({ signal }, 'second signal, ending at once')
      process.exit(1)
    }
    first = Date.now()
    log.info({ signal }, 'draining')
    setTimeout(
      () => {
        log.error('ending took too long')
        process.exit(1)
      },
      drainMs + (drain?.ms ?? 0),
    ).unref()
    const left = await drain?.how()
    if (left !== undefined) log.info({ left }, 'drained')
    await close?.()
    log.info('ended')
    process.exit(0)
  }
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, handle)
  return {
    when: (how: () => Promise<void>) => (close = how),
    before: (ms: number, how: () => Promise<number>) => (drain = { ms, how }),
  }
}

/** A bug that no boundary caught is logged and does not take everybody's calls down with it. */
function guardProcess(log: Logger): void {
  process.on('unhandledRejection', error => log.error({ err: error }, 'unhandled rejection'))
  process.on('uncaughtException', error => {
    log.fatal({ err: error }, 'uncaught exception')
    if (error instanceof Refusal) process.exit(1)
  })
}

// How this program's commands are typed: through npm in a clone, by its name in a container.
const command = process.env['npm_execpath'] === undefined ? 'vaartha' : 'npm run vaartha --'

async function welcome(server: Server): Promise<void> {
  const info = await server.info()
  const hosts = [...new Set(info.points.map(point => point.split(' ')[1]!.replace(/:\d+$/, '')))]
  const protocols = (host: string) =>
    info.points
      .filter(p => p.split(' ')[1]!.replace(/:\d+$/, '') === host)
      .map(p => `${p.split(' ')[0]} ${p.split(':').at(-1)}`)
  say()
  say(`Vaartha ${info.version} is ready. SIP domain: ${info.domain}. Phones and browsers reach it at:`)
  say(
    table(
      ['address', 'over'],
      [
        ...(info.parts['mDNS']?.on ? [[info.name, 'mDNS, on every real interface']] : []),
        ...hosts.map(host => [host, protocols(host).join(', ')]),
      ],
      '',
    ),
  )
  say()
  say(
    table(
      ['part', '', 'why'],
      Object.entries(info.parts).map(([part, { on, why }]) => [part, on ? 'on' : 'off', why]),
      '',
    ),
  )
  say()
  say(
    info.accounts === 0
      ? 'Nobody has an account yet. Add a person:'
      : `${info.accounts} people have an account. Add one more:`,
  )
  say(`  ${command} user add mum`)
  const link = server.oneTimeLink()
  if (link === undefined) return
  say()
  say(`Administrator, one-time link (a fresh one: ${command} admin link):\n  ${link}`)
  if (process.stdout.isTTY || info.accounts === 0) remark(qrCode(link))
}
