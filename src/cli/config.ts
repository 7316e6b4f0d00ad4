import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Command } from 'commander'
import { configPage, configSample } from '../config/document.ts'
import { projectRoot } from '../config/load.ts'
import { errorsPage } from './errors-page.ts'
import type { Load } from './load.ts'
import { remark, sayJson } from './print.ts'

/** `vaartha config check` and, for those who work on Vaartha, `vaartha docs`. */
export function addConfig(program: Command, load: Load): void {
  program
    .command('config')
    .description('the configuration')
    .command('check')
    .description('say whether the configuration is right; exit code 1 when it is not')
    .option('--json', 'print the whole configuration as it would be used, secrets left out')
    .action((options: { json?: boolean }) => {
      const { config, file } = load()
      const shown = {
        ...config,
        sip: { ...config.sip, drachtio: { ...config.sip.drachtio, secret: config.sip.drachtio.secret && '…' } },
        media: {
          ...config.media,
          freeswitch: { ...config.media.freeswitch, secret: config.media.freeswitch.secret && '…' },
        },
      }
      if (options.json)
        return sayJson({
          ...shown,
          store: { ...config.store, redis: hidePassword(config.store.redis) },
          cluster: {
            ...config.cluster,
            secret: config.cluster.secret && '…',
            otherSecrets: config.cluster.otherSecrets.map(() => '…'),
            nats: config.cluster.nats.split(',').map(hidePassword).join(),
          },
        })
      remark(`${file ?? 'no file, the defaults'}: the configuration is right.`)
    })

  program
    .command('docs')
    .description('write the generated pages of docs/ and config/vaartha.yaml again')
    .action(() => {
      writeFileSync(join(projectRoot, 'docs/config.md'), configPage())
      writeFileSync(join(projectRoot, 'docs/errors.md'), errorsPage())
      writeFileSync(join(projectRoot, 'config/vaartha.yaml'), configSample())
    })
}

function hidePassword(url: string): string {
  return url.replace(/(\/\/[^:/@]*:)[^@]*@/, '$1…@').replace(/(\/\/)[^:/@]+@/, '$1…@')
}
