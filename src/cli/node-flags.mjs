/**
 * How Node runs the server, wherever it is started; the Dockerfile, which can import nothing, says the same.
 * `--expose-gc` lets `serve` give back, once, the memory that only the start needed (docs/decisions.md).
 */
export const nodeFlags = ['--disable-warning=ExperimentalWarning', '--expose-gc']
