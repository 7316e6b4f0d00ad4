import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { buildWorker, progressOf } from './build.ts'
import { type Found, findWorker } from './find.ts'
import { takeLock } from './lock.ts'
import { installLine, installPackages, mayInstall, missingPackages } from './packages.ts'
import { cachedWorker, type Package } from './places.ts'

export interface MakeDeps {
  cache: string
  source: Package
  env: NodeJS.ProcessEnv
  jobs: number
  gentle: boolean
  pollMs: number
  signal: AbortSignal
  /** What is being done, and how much of it where that is known. */
  onStep(step: string, progress?: number): void
}

/** Something is not installed that building needs; the message says what to type. */
export class MissingPackages extends Error {
  override readonly name = 'MissingPackages'
}

/**
 * Makes the worker in the cache, or waits for whoever is at it. Rejects with MissingPackages, with an Error that says
 * why it cannot be built, or with the reason of `signal`.
 */
export async function makeWorker(deps: MakeDeps): Promise<Found> {
  const { cache, source, env, pollMs, signal, onStep } = deps
  mkdirSync(cache, { recursive: true })
  const target = cachedWorker(cache, source.version)
  let lock = takeLock(`${target}.lock`)
  while (lock === undefined) {
    onStep('another Vaartha on this machine is building it', progressOf(target, source.directory))
    await sleep(pollMs, undefined, { signal })
    lock = takeLock(`${target}.lock`)
  }
  try {
    // Whoever had the lock before may have made it.
    const found = await findWorker({ env, cache, source })
    if (found !== undefined) return found
    await havePackages(deps)
    const step = 'is being built on this machine, once'
    onStep(step, 0)
    await buildWorker({
      ...deps,
      packageDirectory: source.directory,
      target,
      onProgress: share => onStep(step, share),
    })
    return { binary: target, how: 'cache' }
  } finally {
    lock.release()
  }
}

async function havePackages({ env, cache, onStep }: MakeDeps): Promise<void> {
  const missing = await missingPackages(env)
  if (missing.length === 0) return
  if (mayInstall(env)) {
    onStep(`Debian packages for building it are being installed: ${missing.join(' ')}`)
    await installPackages(missing, env, join(cache, 'apt-get.log'))
  }
  const still = await missingPackages(env)
  if (still.length > 0) throw new MissingPackages(`it has to be built here, and that needs: ${installLine(still)}`)
}
