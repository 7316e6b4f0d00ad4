import type { Config } from '../config/schema.ts'
import type { Media } from '../media/media.ts'
import { inWords } from '../media/worker/arrival.ts'
import type { Health } from './deps.ts'

/** What is on and what is off, and why, as the status page and `vaartha doctor` tell it. `name`: what mDNS has claimed. */
export function parts(config: Config, name: string | undefined, media: Pick<Media, 'state'>): Health['parts'] {
  const { sip, store } = config
  const { mixer, ...worker } = media.state()
  return {
    'SIP engine': {
      on: true,
      why:
        sip.engine === 'embedded' ? 'in this process' : `drachtio-server at ${sip.drachtio.host}:${sip.drachtio.port}`,
    },
    TLS: {
      on: sip.tls !== 0,
      why:
        sip.tls === 0
          ? 'sip.tls is 0'
          : config.certificates.cert === ''
            ? 'with the local authority’s certificate'
            : 'with your certificate',
    },
    'shared store': {
      on: store.redis !== '',
      why:
        store.redis === ''
          ? 'store.redis is empty: registrations live in the data directory'
          : 'registrations live in Redis',
    },
    mDNS: {
      on: config.discovery.enabled,
      why: config.discovery.enabled ? (name ?? 'claiming its name') : 'discovery.enabled is false',
    },
    'media worker': { on: worker.sfu === 'ready', why: inWords(worker) },
    ...(mixer && { mixer }),
    HTTP: { on: config.http.enabled, why: config.http.enabled ? 'status page and API' : 'http.enabled is false' },
  }
}
