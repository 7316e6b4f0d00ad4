/** Lets what is given to it run one after another; the result, or the failure, goes to who gave it. */
export type Turns = <T>(work: () => Promise<T>) => Promise<T>

/** Negotiations of one leg, and changes of one room, must not overtake each other. */
export function createTurns(): Turns {
  let last: Promise<unknown> = Promise.resolve()
  return work => {
    const mine = last.then(work, work)
    last = mine.catch(() => undefined)
    return mine
  }
}
