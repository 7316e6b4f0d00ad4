// Installs the npm packages once per package-lock.json. Runs on any Node and needs npm only.
import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { nodeEnvironment, nodeFlags } from './node-flags.mjs'

/** The pinned Node when it is installed, else the one that runs this. */
export function pinnedNode(root) {
  const pinned = resolve(root, 'node_modules/node/bin/node')
  return existsSync(pinned) ? pinned : process.execPath
}

/**
 * Runs `npm ci` when node_modules is not what package-lock.json says. `development` adds what tests need.
 * Ends the process with a plain sentence when that fails.
 */
export async function ensureInstalled(root, { development }) {
  const stamp = resolve(root, 'node_modules/.vaartha-installed')
  const lock = createHash('sha256')
    .update(readFileSync(resolve(root, 'package-lock.json')))
    .digest('hex')
  const installed = existsSync(stamp) ? readFileSync(stamp, 'utf8').split(' ') : []
  if (installed[0] === lock && (!development || installed[1] === 'development')) return
  process.stderr.write('Vaartha: installing packages (once) …\n')
  // Who has tested here once goes on developing here.
  const all = development || installed[1] === 'development'
  const code = await run(
    'npm',
    ['ci', ...(all ? [] : ['--omit=dev']), '--ignore-scripts=false', '--no-audit', '--no-fund', '--loglevel=error'],
    root,
    2,
    // The npm package `node` needs its install script. With a worker given, mediasoup's own does nothing (.npmrc says why).
    { MEDIASOUP_WORKER_BIN: 'comes later', ...process.env },
  )
  if (code !== 0) {
    process.stderr.write(
      'Vaartha: npm ci failed. The lines above say why; with the network back, type the command again.\n',
    )
    process.exit(1)
  }
  // Without it the first start is slower and nothing else, so its failure is none of the installation's.
  await run(pinnedNode(root), [...nodeFlags, resolve(root, 'src/cli/warm-up.mjs')], root, 'ignore', nodeEnvironment)
  writeFileSync(stamp, `${lock} ${all ? 'development' : 'production'}`)
}

/** Runs a command with its output on stderr or nowhere; resolves to its exit code. */
function run(command, args, cwd, output = 2, env = process.env) {
  return new Promise(done => {
    const child = spawn(command, args, { cwd, env, stdio: ['ignore', output, output] })
    child.on('error', error => {
      process.stderr.write(`Vaartha: ${command} cannot be started: ${error.message}\n`)
      done(1)
    })
    child.on('exit', code => done(code ?? 1))
  })
}
