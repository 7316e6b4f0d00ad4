import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

// A compiler, pkg-config and flatc that make believe, and a package of sources for them: building the real worker takes
// two minutes.

const sources = ['src/lib.cpp', 'src/Worker.cpp', 'src/RTC/Router.cpp']
const webrtcSources = ['libwebrtc/call/sender.cc']

const compiler = (folder: string) => `#!/bin/sh
[ "$1" = --version ] && { echo 'compiler 1'; exit; }
for word in "$@"; do
  [ "$last" = -o ] && out=$word
  [ "$word" = -pie ] && link=yes
  case $word in */worker/*.cpp | */worker/*.cc) source=$word ;; esac
  last=$word
done
echo "\${link:+link}\${source##*/worker/}" >> ${folder}/calls
[ -n "$source" ] && [ -e ${folder}/hangs ] && case $source in *Router.cpp) exec sleep 600 ;; esac
[ -n "$source" ] && [ -e ${folder}/fails ] && { echo 'Worker.cpp:1: error: no such thing' >&2; exit 1; }
if [ -n "$link" ]; then
  status=41
  [ -e ${folder}/useless ] && status=1
  printf '#!/bin/sh\\nexit %s\\n' $status > "$out"
  chmod +x "$out"
else
  echo object > "$out"
fi
`
const pkgConfig = (folder: string) => `#!/bin/sh
[ "$1" = --exists ] && [ -e ${folder}/without-$2 ] && exit 1
exit 0
`
const packageManager = (folder: string) => `#!/bin/sh
echo "apt-get $*"
echo "apt-get $*" >> ${folder}/calls
`

export interface Toolchain {
  /** Environment in whose PATH nothing is but these programs. */
  env: NodeJS.ProcessEnv
  source: { directory: string; version: string }
  cache: string
  sources: readonly string[]
  /** What was compiled (file names) and linked (`link`) so far, one entry a time. */
  calls(): string[]
  /** Switches a trouble on or off: `hangs`, `fails`, `useless` (the program made is no worker), `without-<library>`. */
  trouble(name: string, on: boolean): void
  remove(program: string): void
  close(): void
}

export function createToolchain(): Toolchain {
  const folder = mkdtempSync(join(tmpdir(), 'vaartha-tools-'))
  const bin = join(folder, 'bin')
  const worker = join(folder, 'mediasoup/worker')
  const put = (file: string, text: string) => writeFileSync(file, text, { mode: 0o755 })
  for (const path of [bin, join(worker, 'fbs'), join(worker, 'deps/libwebrtc')]) mkdirSync(path, { recursive: true })
  put(join(bin, 'g++'), compiler(folder))
  put(join(bin, 'pkg-config'), pkgConfig(folder))
  put(join(bin, 'flatc'), '#!/bin/sh\n')
  put(join(bin, 'apt-get'), packageManager(folder))
  for (const tool of ['nice', 'chmod', 'sleep'])
    symlinkSync(execFileSync('which', [tool], { encoding: 'utf8' }).trim(), join(bin, tool))
  const list = (name: string, files: string[]) => `${name} = [\n${files.map(f => `  '${f}',\n`).join('')}]\n`
  put(join(worker, 'meson.build'), `'cpp_std=c++20',\n${list('common_sources', sources)}`)
  put(join(worker, 'deps/libwebrtc/meson.build'), list('libwebrtc_sources', webrtcSources))
  put(join(worker, 'fbs/message.fbs'), '')

  return {
    env: { PATH: bin },
    source: { directory: join(folder, 'mediasoup'), version: '1.2.3' },
    cache: join(folder, 'cache'),
    sources: [...sources, 'src/main.cpp', ...webrtcSources.map(file => `deps/libwebrtc/${file}`)],
    calls() {
      const file = join(folder, 'calls')
      return existsSync(file) ? readFileSync(file, 'utf8').trim().split('\n').filter(Boolean) : []
    },
    trouble(name, on) {
      if (on) put(join(folder, name), '')
      else rmSync(join(folder, name))
    },
    remove: program => rmSync(join(bin, program)),
    close: () => rmSync(folder, { recursive: true, force: true }),
  }
}
