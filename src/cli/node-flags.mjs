import { fileURLToPath } from 'node:url'

/**
 * How Node runs the server, wherever it is started; the Dockerfile, which can import nothing, says the same.
 * `--expose-gc` lets `serve` give back, once, the memory that only the start needed (docs/decisions.md).
 */
export const nodeFlags = ['--disable-warning=ExperimentalWarning', '--expose-gc']

/**
 * Node keeps stripped and compiled sources here between starts, which makes the next one faster and 20 MB smaller. It
 * has to know of it before it reads main.ts. Not in /tmp, which is emptied at each boot and where others may write.
 */
export const nodeEnvironment = {
  NODE_COMPILE_CACHE: fileURLToPath(new URL('../../node_modules/.cache/vaartha', import.meta.url)),
  ...process.env,
}
