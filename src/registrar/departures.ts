import { Refusal } from '../errors.ts'
import type { Logger } from '../log.ts'
import type { Registrar } from './registrar.ts'

export interface Departures {
  close(): void
}

export interface DeparturesDeps {
  registrar: Pick<Registrar, 'list' | 'remove'>
  /** False for an address whose account is disabled or gone. */
  mayRegister(aor: string): Promise<boolean>
  /** A number that differs from its last value when another process has written accounts. */
  version(): number
  log: Logger
  everyMs?: number
}

/**
 * Ends the registrations of people who may not call any more. `vaartha user` writes to the database from a process of
 * its own, also while no server runs, so accounts are compared at the start and after each such writing.
 */
export function watchDepartures(deps: DeparturesDeps): Departures {
  const { registrar, mayRegister, version, log, everyMs = 1000 } = deps
  let seen: number | undefined
  let looking = false

  async function look(): Promise<void> {
    if (looking) return
    looking = true
    try {
      const now = version()
      if (now === seen) return
      await removeDeparted()
      seen = now
    } catch (error) {
      // A store that is away says so itself; the next look finds what this one has missed.
      if (!(error instanceof Refusal)) log.error({ err: error }, 'comparing registrations with accounts failed')
    } finally {
      looking = false
    }
  }

  async function removeDeparted(): Promise<void> {
    let cursor: string | undefined
    do {
      const page = await registrar.list(cursor, 1000)
      for (const aor of new Set(page.bindings.map(binding => binding.aor))) {
        if (!(await mayRegister(aor))) await registrar.remove(aor)
      }
      cursor = page.cursor
    } while (cursor !== undefined)
  }

  void look()
  const timer = setInterval(() => void look(), everyMs)
  timer.unref()
  return { close: () => clearInterval(timer) }
}
