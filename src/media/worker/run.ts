import { type ChildProcess, spawn } from 'node:child_process'

/** A program that ended with another status than 0; `stderr` is the end of what it said. */
export class Failed extends Error {
  override readonly name = 'Failed'
  readonly stderr: string

  constructor(command: string, code: number | string, stderr: string) {
    super(`${command} ended with ${code}${stderr === '' ? '' : `: ${mainLine(stderr)}`}`)
    this.stderr = stderr
  }
}

const mostKept = 20_000

/**
 * Runs a program to its end and gives what it printed. It gets a process group of its own, because a compiler is a
 * driver that starts the real one; `signal` ends the whole group. Rejects with Failed, or the reason of `signal`.
 */
export function run(
  command: string,
  args: readonly string[],
  options: { env: NodeJS.ProcessEnv; signal?: AbortSignal; cwd?: string },
): Promise<string> {
  const { env, signal, cwd } = options
  signal?.throwIfAborted()
  return new Promise((done, failed) => {
    const child = spawn(command, args, { env, cwd, detached: true, stdio: ['ignore', 'pipe', 'pipe'] })
    let [stdout, stderr] = ['', '']
    child.stdout.setEncoding('utf8').on('data', text => (stdout += text))
    child.stderr.setEncoding('utf8').on('data', text => (stderr = (stderr + text).slice(-mostKept)))
    const abort = () => endGroup(child)
    signal?.addEventListener('abort', abort)
    child.on('error', error => {
      signal?.removeEventListener('abort', abort)
      failed(error)
    })
    child.on('close', (code, killed) => {
      signal?.removeEventListener('abort', abort)
      if (signal?.aborted) failed(signal.reason)
      else if (code === 0) done(stdout)
      else failed(new Failed(command, code ?? killed ?? 'nothing', stderr.trim()))
    })
  })
}

function endGroup(child: ChildProcess): void {
  if (child.pid === undefined || child.exitCode !== null) return
  try {
    process.kill(-child.pid, 'SIGTERM')
  } catch (error) {
    // It ended in this very moment.
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
  }
}

/** Compilers say much; the first line that names an error says what is wrong. */
function mainLine(text: string): string {
  const lines = text.split('\n')
  return (lines.find(line => /\berror\b/i.test(line)) ?? lines.at(-1) ?? '').trim().slice(0, 300)
}
