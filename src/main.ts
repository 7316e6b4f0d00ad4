import { enableCompileCache } from 'node:module'

// Stripped and compiled sources are kept between starts, which makes the second start much faster.
enableCompileCache()
const { runCli } = await import('./cli/cli.ts')
await runCli(process.argv.slice(2))
