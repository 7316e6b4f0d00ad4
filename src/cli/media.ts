import type { Command } from 'commander'
import { createSilentLog } from '../log.ts'
import { createArrival, inWords } from '../media/worker/arrival.ts'
import { cacheDirectory } from '../media/worker/places.ts'
import { remark, say } from './print.ts'

/** `vaartha media …`: the program that carries browsers' media. It needs no server that runs. */
export function addMedia(program: Command): void {
  program
    .command('media')
    .description('the media worker, which browsers need for talking to phones and for meetings')
    .command('build')
    .description('build it now, unless it is there, and print where it lies')
    .option('-j, --jobs <number>', 'most compilers at once (default: as many as there are cores and memory for)')
    .option('-g, --gentle', 'let everything else on this machine go first')
    .action(async (options: { jobs?: string; gentle?: boolean }) => {
      const arrival = createArrival({
        cache: cacheDirectory(process.env),
        build: 'auto',
        jobs: Math.max(0, Number.parseInt(options.jobs ?? '0', 10) || 0),
        gentle: options.gentle === true,
        log: createSilentLog(),
        onState: state => remark(`media worker: ${inWords(state)}`),
      })
      // What was compiled before Ctrl-C is used by the next build.
      for (const signal of ['SIGINT', 'SIGTERM'] as const)
        process.once(signal, () => void arrival.close().finally(() => process.exit(1)))
      arrival.start()
      try {
        say(await arrival.arrived())
      } finally {
        await arrival.close()
      }
    })
}
