import { createSilentLog } from '../../src/log.ts'
import { createArrival } from '../../src/media/worker/arrival.ts'
import { cacheDirectory } from '../../src/media/worker/places.ts'

let worker: Promise<string> | undefined

/** Path of the real mediasoup worker, as the server finds it; built first on a machine that has none, which takes minutes. */
export function realWorker(): Promise<string> {
  worker ??= arrive()
  return worker
}

async function arrive(): Promise<string> {
  const arrival = createArrival({
    cache: cacheDirectory(process.env),
    build: 'auto',
    log: createSilentLog(),
    onState() {},
  })
  arrival.start()
  try {
    return await arrival.arrived()
  } finally {
    await arrival.close()
  }
}
