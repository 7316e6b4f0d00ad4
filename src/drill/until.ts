import { setTimeout as wait } from 'node:timers/promises'

const lookMs = 20

/** Waits for a fact of other programs, which only looking tells; false when it has not come within `ms`. Rejects when given up. */
export async function until(
  isSo: () => boolean | Promise<boolean>,
  ms: number,
  signal: AbortSignal,
  everyMs = lookMs,
): Promise<boolean> {
  for (const late = performance.now() + ms; ; await wait(everyMs, undefined, { signal })) {
    signal.throwIfAborted()
    if (await isSo()) return true
    if (performance.now() > late) return false
  }
}
