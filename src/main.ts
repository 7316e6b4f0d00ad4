import { runCli } from './cli/cli.ts'

// Compiled sources are kept between starts, which makes the second start much faster.
await import('node:module').then(module => module.enableCompileCache())
process.exitCode = await runCli(process.argv.slice(2))
