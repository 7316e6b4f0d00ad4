import type { Command } from 'commander'
import {
  checkCertificate,
  checkClock,
  checkDirectory,
  checkInterfaces,
  checkMedia,
  checkMixer,
  checkName,
  checkNode,
  checkPorts,
  checkServer,
  checkSockets,
  checkStore,
  type Finding,
} from './examine.ts'
import type { Load } from './load.ts'
import { say, sayJson } from './print.ts'

const marks = { good: 'ok   ', odd: 'look ', bad: 'WRONG' }

/** `vaartha doctor`: says in plain words what is wrong and what to do. Exit code 4 when something is broken. */
export function addDoctor(program: Command, load: Load): void {
  program
    .command('doctor')
    .description(
      'say what is wrong with ports, names, interfaces, certificates, clock, store and media worker, and what to do',
    )
    .option('--json', 'print JSON')
    .action(async (options: { json?: boolean }) => {
      // A configuration that cannot be read ends here, with its own explanation.
      const { config } = load()
      const findings: Finding[] = [
        checkNode(),
        ...checkDirectory(config),
        checkClock(config),
        ...checkInterfaces(config),
        await checkServer(config),
        ...(await checkPorts(config)),
        await checkName(config),
        await checkStore(config),
        ...checkCertificate(config),
        await checkMedia(config),
        await checkSockets(),
        ...(await checkMixer(config)),
      ]
      if (options.json) sayJson(findings)
      for (const { state, about, text, advice } of options.json ? [] : findings) {
        say(`${marks[state]}  ${about}: ${text}`)
        if (advice !== undefined) say(`       → ${advice}`)
      }
      if (findings.some(f => f.state === 'bad')) process.exitCode = 4
    })
}
