import { spawn } from 'node:child_process'
import { accessSync, closeSync, constants, openSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { Failed, run } from './run.ts'

// What building the worker needs, and the Debian package that brings it (the names hold for Ubuntu and Raspberry Pi OS).
const programs: readonly [program: string, from: string][] = [
  ['g++', 'g++'],
  ['pkg-config', 'pkg-config'],
  ['flatc', 'flatbuffers-compiler'],
]
const libraries: readonly [name: string, from: string][] = [
  ['libsrtp2', 'libsrtp2-dev'],
  ['usrsctp', 'libusrsctp-dev'],
  ['libuv', 'libuv1-dev'],
  ['openssl', 'libssl-dev'],
  ['flatbuffers', 'libflatbuffers-dev'],
  ...[
    'absl_btree',
    'absl_flat_hash_map',
    'absl_flat_hash_set',
    'absl_inlined_vector',
    'absl_memory',
    'absl_optional',
    'absl_strings',
  ].map((name): [string, string] => [name, 'libabsl-dev']),
]

/** What pkg-config calls the libraries that the worker is compiled and linked with. */
export const libraryNames: readonly string[] = libraries.map(([name]) => name)

/** The Debian packages that are still needed for building; empty when all is there. */
export async function missingPackages(env: NodeJS.ProcessEnv): Promise<string[]> {
  const missing = programs.filter(([program]) => !onPath(program, env)).map(([, from]) => from)
  if (missing.includes('pkg-config')) return [...new Set([...missing, ...libraries.map(([, from]) => from)])]
  for (const [name, from] of libraries) {
    if (!missing.includes(from) && !(await hasLibrary(name, env))) missing.push(from)
  }
  return missing
}

async function hasLibrary(name: string, env: NodeJS.ProcessEnv): Promise<boolean> {
  try {
    await run('pkg-config', ['--exists', name], { env })
    return true
  } catch (error) {
    if (error instanceof Failed) return false
    throw error
  }
}

/** What a person has to type where this program may not. */
export function installLine(packages: readonly string[]): string {
  return `sudo apt-get install ${packages.join(' ')}`
}

/** Whether this process may install Debian packages. */
export function mayInstall(env: NodeJS.ProcessEnv): boolean {
  return process.getuid?.() === 0 && onPath('apt-get', env)
}

/**
 * Installs packages and writes what apt-get says to `logFile`. It goes on to its end even if this process ends first,
 * because a package manager that is stopped half-way leaves the machine in need of repair.
 */
export async function installPackages(
  packages: readonly string[],
  env: NodeJS.ProcessEnv,
  logFile: string,
): Promise<void> {
  // Somebody else's apt-get, for example the nightly one, may be at work.
  const wait = ['-q', '-o', 'DPkg::Lock::Timeout=300']
  await aptGet([...wait, 'update'], env, logFile)
  await aptGet([...wait, 'install', '-y', '--no-install-recommends', ...packages], env, logFile)
}

function aptGet(args: string[], env: NodeJS.ProcessEnv, logFile: string): Promise<void> {
  const output = openSync(logFile, 'a')
  return new Promise<void>((done, failed) => {
    const child = spawn('apt-get', args, {
      env: { ...env, DEBIAN_FRONTEND: 'noninteractive' },
      detached: true,
      stdio: ['ignore', output, output],
    })
    child.on('error', failed)
    child.on('exit', code => {
      if (code === 0) done()
      else failed(new Error(`apt-get ended with ${code}; ${logFile} says why`))
    })
  }).finally(() => closeSync(output))
}

/** Whether a program is there for this user. */
export function onPath(program: string, env: NodeJS.ProcessEnv): boolean {
  return (env['PATH'] ?? '').split(delimiter).some(folder => {
    try {
      accessSync(join(folder, program), constants.X_OK)
      return true
    } catch {
      // Not in this folder, or not for this user; the next one may have it.
      return false
    }
  })
}
