/** Calls `again` after `first`, doubling up to `most`, until stopped; after `total` it calls `giveUp` instead. All in ms. */
export function repeat(first: number, most: number, total: number, again: () => void, giveUp: () => void): () => void {
  let interval = first
  let spent = 0
  let timer: NodeJS.Timeout
  const next = () => {
    const wait = Math.min(interval, total - spent)
    timer = setTimeout(() => {
      spent += wait
      if (spent >= total) return giveUp()
      interval = Math.min(interval * 2, most)
      next()
      again()
    }, wait)
  }
  next()
  return () => clearTimeout(timer)
}
