import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

/** How mediasoup's own build file says that the worker is compiled. */
export interface Recipe {
  /** Absolute paths. */
  sources: string[]
  /** Schemas of the messages between Node and the worker, from which flatc makes headers; absolute paths. */
  schemas: string[]
  includes: string[]
  flags: string[]
}

/**
 * Reads the recipe from the sources in mediasoup's npm package. Meson itself is not used: it would fetch mediasoup's
 * libraries from the network, where Debian has them all.
 */
export function readRecipe(packageDirectory: string): Recipe {
  const worker = join(packageDirectory, 'worker')
  const webrtc = join(worker, 'deps/libwebrtc')
  const meson = readFileSync(join(worker, 'meson.build'), 'utf8')
  const sources = [
    ...listIn(meson, 'common_sources').map(file => join(worker, file)),
    join(worker, 'src/main.cpp'),
    ...listIn(readFileSync(join(webrtc, 'meson.build'), 'utf8'), 'libwebrtc_sources').map(file => join(webrtc, file)),
  ]
  const schemas = readdirSync(join(worker, 'fbs'))
    .filter(file => file.endsWith('.fbs'))
    .map(file => join(worker, 'fbs', file))
  return {
    sources,
    schemas,
    includes: [join(worker, 'include'), webrtc, join(webrtc, 'libwebrtc')],
    // io_uring, which mediasoup's build switches on by the kernel's version, is left out: a binary for one machine may
    // run on another kernel, and a library less is needed.
    flags: [
      `-std=${/cpp_std=([^']+)'/.exec(meson)?.[1] ?? 'c++20'}`,
      '-O2',
      '-DNDEBUG',
      '-fPIE',
      '-pthread',
      '-w',
      '-DMS_EXECUTABLE',
      // amd64 and arm64 both are.
      '-DMS_LITTLE_ENDIAN',
      '-DFLATBUFFERS_LOCALE_INDEPENDENT=1',
    ],
  }
}

/** The texts of `name = [ 'a', 'b' ]` in a Meson file. */
function listIn(meson: string, name: string): string[] {
  const from = meson.indexOf(`${name} = [`)
  const to = meson.indexOf('\n]', from)
  if (from === -1 || to === -1)
    throw new Error(`mediasoup's build file has no list ${name}: its version is unknown here`)
  return [...meson.slice(from, to).matchAll(/^\s*'([^']+)'/gm)].map(match => match[1]!)
}

/** What flatc is told beside the schemas; as mediasoup's own build does. */
export const flatcFlags = [
  '--cpp',
  '--cpp-field-case-style',
  'lower',
  '--reflect-names',
  '--scoped-enums',
  '--filename-suffix',
  '',
]
