import { Refusal } from '../errors.ts'
import type { Logger } from '../log.ts'

/** Waits for work whose failure is only to be told of in the log. Never rejects. */
export async function guarded(log: Logger, work: Promise<unknown> | undefined): Promise<void> {
  try {
    await work
  } catch (error) {
    if (error instanceof Refusal) log.info({ code: error.code, why: error.message }, 'refused')
    else log.error({ err: error }, 'failed')
  }
}
