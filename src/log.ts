import { type Logger, pino } from 'pino'

export type { Logger }

// Values whose keys say that they are secret never reach a log, at the depths where our own objects hold them.
const secret = ['password', 'secret', 'token', 'authorization', 'ha1', 'key']
const redact = secret.flatMap(key => [key, `*.${key}`, `*.*.${key}`])

/**
 * The root logger. Rooms get children of it made at birth with their ids; texts are fixed, values go into the object.
 * Header values of strangers go only under keys of our own.
 */
export function createLog(config: { level: string; format: 'auto' | 'json' | 'pretty' }): Logger {
  const options = { level: config.level, redact, base: null }
  const pretty = config.format === 'pretty' || (config.format === 'auto' && process.stdout.isTTY)
  if (!pretty) return pino(options, pino.destination({ fd: 1, sync: true }))
  return pino({
    ...options,
    transport: { target: 'pino-pretty', options: { ignore: 'pid,hostname', translateTime: 'HH:MM:ss' } },
  })
}

/** A logger that says nothing, for tests. */
export function createSilentLog(): Logger {
  return pino({ level: 'silent' })
}
