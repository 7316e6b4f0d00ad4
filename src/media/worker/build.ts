import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { basename, join } from 'node:path'
import { trial } from './find.ts'
import { libraryNames } from './packages.ts'
import { flatcFlags, type Recipe, readRecipe } from './recipe.ts'
import { Failed, run } from './run.ts'

const native = join(import.meta.dirname, 'native')
// What the compiler takes at the worst of mediasoup's sources, with some room.
const bytesPerJob = 700e6

export interface BuildOptions {
  /** Directory of mediasoup's npm package. */
  packageDirectory: string
  /** The program to make. What is half made lies in a directory beside it. */
  target: string
  /** Most compilers at once; 0 is as many as there are cores, and memory for. */
  jobs: number
  /** Gives way to everything else that wants the processor. */
  gentle: boolean
  env: NodeJS.ProcessEnv
  signal: AbortSignal
  onProgress(share: number): void
}

interface Tools {
  /** Compiles, to `output`, which appears whole or not at all. */
  compile(args: readonly string[], output: string): Promise<void>
  link(objects: readonly string[], output: string): Promise<void>
}

/**
 * Builds the worker from the sources in mediasoup's npm package with the libraries of this machine. `target` appears
 * whole or not at all. What an interrupted build has finished is used by the next one. The caller holds the lock.
 */
export async function buildWorker(options: BuildOptions): Promise<void> {
  const { target, env, signal } = options
  const recipe = readRecipe(options.packageDirectory)
  const folder = buildFolder(target)
  const headers = join(folder, 'generated')
  const prelude = join(folder, 'prelude.hpp')
  const tools = await findTools(recipe, headers, options)

  mkdirSync(headers, { recursive: true })
  writeFileSync(prelude, readFileSync(join(native, 'prelude.hpp')))
  await once(join(headers, 'FBS'), async path => {
    mkdirSync(path)
    await run('flatc', [...flatcFlags, '-o', path, ...recipe.schemas], { env, signal })
  })
  await tools.compile(['-x', 'c++-header', prelude], `${prelude}.gch`)
  const objects = await compileAll(recipe, folder, options, (source, object) =>
    tools.compile(['-include', prelude, '-c', source], object),
  )
  const program = join(folder, 'worker')
  try {
    await tools.link(objects, program)
    const wrong = await trial(program, env)
    if (wrong !== undefined) throw new Error(`what was built ${wrong}`)
  } catch (error) {
    // An object may have been cut short when the power failed; the next build makes all of them anew.
    if (!signal.aborted) rmSync(folder, { recursive: true })
    throw error
  }
  renameSync(program, target)
  rmSync(folder, { recursive: true })
}

/** How much of a build that another process is at is done, 0..1. */
export function progressOf(target: string, packageDirectory: string): number {
  try {
    const objects = readdirSync(buildFolder(target)).filter(file => file.endsWith('.o'))
    return objects.length / readRecipe(packageDirectory).sources.length
  } catch (error) {
    // It has not begun, or has ended in this moment.
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return 0
    throw error
  }
}

const buildFolder = (target: string) => `${target}.build`

/** Asks what there is on this machine, and throws away what was built with anything else. */
async function findTools(recipe: Recipe, headers: string, options: BuildOptions): Promise<Tools> {
  const { env, signal, gentle } = options
  const cxx = env['CXX'] || 'g++'
  const ask = (program: string, args: readonly string[]) => run(program, args, { env, signal })
  const cflags = words(await ask('pkg-config', ['--cflags', ...libraryNames]))
  const libs = words(await ask('pkg-config', ['--libs', ...libraryNames]))
  const versions = [await ask(cxx, ['--version']), await ask('pkg-config', ['--modversion', ...libraryNames])]
  const flags = [...recipe.flags, ...[native, headers, ...recipe.includes].map(path => `-I${path}`), ...cflags]
  const ours = readdirSync(native).map(file => readFileSync(join(native, file), 'utf8'))
  keepIfSame(buildFolder(options.target), [...flags, ...versions, ...ours])

  const start = (args: readonly string[]) =>
    gentle ? ask('nice', ['-n', '19', cxx, ...flags, ...args]) : ask(cxx, [...flags, ...args])
  return {
    compile: (args, output) => once(output, path => start([...args, '-o', path])),
    link: (objects, output) =>
      once(output, path => start(['-pie', '-s', '-Wl,--as-needed', ...objects, '-o', path, ...libs])),
  }
}

/** Empties the directory unless it was filled under the same conditions; half-written files go in any case. */
function keepIfSame(folder: string, conditions: readonly string[]): void {
  const stamp = join(folder, 'conditions')
  const now = createHash('sha256').update(conditions.join('\0')).digest('hex')
  if (!existsSync(stamp) || readFileSync(stamp, 'utf8') !== now) {
    rmSync(folder, { recursive: true, force: true })
    mkdirSync(folder, { recursive: true })
    writeFileSync(stamp, now)
  }
  for (const file of readdirSync(folder, { recursive: true, encoding: 'utf8' }))
    if (file.endsWith('.part')) rmSync(join(folder, file), { recursive: true, force: true })
}

/** Makes a file or directory under a name for half-done work and renames it at the end; nothing, if it is there. */
async function once(output: string, make: (path: string) => Promise<unknown>): Promise<void> {
  if (existsSync(output)) return
  // A compiler whose starter was killed may still write to its own.
  const part = `${output}.${process.pid}.part`
  await make(part)
  renameSync(part, output)
}

async function compileAll(
  { sources }: Recipe,
  folder: string,
  { jobs, onProgress, signal }: BuildOptions,
  compile: (source: string, object: string) => Promise<void>,
): Promise<string[]> {
  const all = sources.map((source, i) => ({ source, object: join(folder, `${i}-${basename(source)}.o`) }))
  const waiting = all.toReversed()
  const most =
    jobs || Math.max(1, Math.min(availableParallelism(), Math.floor(process.availableMemory() / bytesPerJob)))
  let [lanes, done] = [most, 0]
  const work = async () => {
    for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
      try {
        await compile(next.source, next.object)
      } catch (error) {
        if (ranOutOfMemory(error) && lanes > 1) {
          // With one compiler fewer it may fit.
          waiting.push(next)
          lanes--
          return
        }
        waiting.length = 0
        throw error
      }
      onProgress(++done / all.length)
    }
  }
  const results = await Promise.allSettled(Array.from({ length: most }, work))
  signal.throwIfAborted()
  const failed = results.find(result => result.status === 'rejected')
  if (failed !== undefined) throw failed.reason
  return all.map(({ object }) => object)
}

/** The kernel ends the compiler, and its driver says so. */
function ranOutOfMemory(error: unknown): boolean {
  return error instanceof Failed && error.stderr.includes('Killed signal terminated program')
}

const words = (text: string) => text.trim().split(/\s+/).filter(Boolean)
