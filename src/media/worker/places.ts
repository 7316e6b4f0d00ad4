import { readFileSync } from 'node:fs'
import { arch, homedir, platform } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

/** The npm package mediasoup: where it lies, its version and the place that its own installer puts a worker. */
export interface Package {
  directory: string
  version: string
}

/** The installed mediasoup. Nothing of it is loaded. */
export function mediasoupPackage(): Package {
  const directory = resolve(dirname(fileURLToPath(import.meta.resolve('mediasoup'))), '../..')
  const { version } = JSON.parse(readFileSync(join(directory, 'package.json'), 'utf8')) as { version: string }
  return { directory, version }
}

/** Outside the clone, so that a fresh clone finds what another one has built. */
export function cacheDirectory(env: NodeJS.ProcessEnv): string {
  const base = env['XDG_CACHE_HOME'] || join(env['HOME'] || homedir(), '.cache')
  return join(base, 'vaartha')
}

/**
 * The worker in the cache. Its name holds what a worker depends on: mediasoup's version, the processor, and the
 * release of the operating system whose shared libraries it was linked with.
 */
export function cachedWorker(directory: string, version: string): string {
  return join(directory, `mediasoup-worker-${version}-${arch()}-${systemId()}`)
}

/** `debian12`, `ubuntu24.04` …; the platform's name where no /etc/os-release is. */
export function systemId(file = '/etc/os-release'): string {
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
    return platform()
  }
  const value = (key: string) => new RegExp(`^${key}="?([\\w.-]+)"?$`, 'm').exec(text)?.[1]
  // Debian's testing has a code name only.
  return `${value('ID') ?? platform()}${value('VERSION_ID') ?? value('VERSION_CODENAME') ?? ''}`
}
