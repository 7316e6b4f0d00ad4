import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import type { Logger } from '../log.ts'
import { isBuilt, sources, target } from '../web/sources.mjs'

/** The built web phone. */
export interface WebPhone {
  /** Where its files lie. */
  readonly folder: string
  /** `old`: files of an earlier version are there while the new ones are being made. */
  state(): 'ready' | 'old' | 'preparing' | 'failed'
  /** Ends a build that is under way; idempotent. */
  close(): Promise<void>
}

/**
 * Looks whether the built files fit the sources and has them built in a process of its own when not: the bundler needs
 * a hundred megabytes and some seconds, and phones must not wait for it.
 */
export function openWebPhone(deps: { log: Logger; build?: string }): WebPhone {
  const { log, build = join(sources, 'build.mjs') } = deps
  const there = () => existsSync(join(target, 'index.html'))
  if (isBuilt()) return { folder: target, state: () => 'ready', close: async () => {} }
  let state: ReturnType<WebPhone['state']> = there() ? 'old' : 'preparing'
  const began = performance.now()
  const child = spawn(process.execPath, [build], { stdio: ['ignore', 'ignore', 'pipe'] })
  let words = ''
  child.stderr.setEncoding('utf8').on('data', text => {
    words = (words + text).slice(-2000)
  })
  child.on('error', error => {
    words = error.message
  })
  const ended = new Promise<void>(resolve => {
    child.on('close', code => {
      if (code === 0) log.info({ seconds: Math.round((performance.now() - began) / 100) / 10 }, 'web phone built')
      else if (code !== null) log.error({ code, words }, 'web phone could not be built')
      state = code === 0 ? 'ready' : there() ? 'old' : 'failed'
      resolve()
    })
  })
  return {
    folder: target,
    state: () => state,
    close() {
      child.kill()
      return ended
    },
  }
}
