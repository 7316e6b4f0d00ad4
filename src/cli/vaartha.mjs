#!/usr/bin/env node
// The door for any Node that a machine happens to have: installs what is missing, then runs src/main.ts with the
// Node that package.json pins. Plain JavaScript with no dependency, because nothing is installed yet.
import { spawn } from 'node:child_process'
import { dirname, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { ensureInstalled, pinnedNode } from './install.mjs'
import { nodeEnvironment, nodeFlags } from './node-flags.mjs'

const root = resolve(dirname(fileURLToPath(import.meta.url)), '../..')
const args = process.argv.slice(2)
const cwdWanted = process.env.INIT_CWD ?? process.cwd()

await ensureInstalled(root, { development: false })

const child = spawn(pinnedNode(root), [...nodeFlags, resolve(root, 'src/main.ts'), ...args], {
  stdio: 'inherit',
  cwd: cwdWanted,
  env: nodeEnvironment,
})

// A terminal's Ctrl-C reaches the child by itself as well; the server counts two signals within half a second as one.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal))
child.on('exit', (code, signal) => process.exit(code ?? (signal === 'SIGINT' ? 130 : signal === 'SIGTERM' ? 143 : 1)))
