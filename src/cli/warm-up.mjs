// Has Node strip and compile every source once after an installation, so that the first start is as small and fast as
// the second. Only main.ts does anything when it is imported: it prints the help. A thread's file wants to be a thread.
import { globSync } from 'node:fs'
import { resolve } from 'node:path'

const src = resolve(import.meta.dirname, '..')
for (const file of globSync('**/*.ts', { cwd: src })) {
  if (file !== 'main.ts' && !file.startsWith('web/') && !file.endsWith('/thread.ts')) await import(resolve(src, file))
}
process.argv[2] = '--help'
await import(resolve(src, 'main.ts'))
