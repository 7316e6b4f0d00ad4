// Which of several final responses the caller gets. It knows statuses only, so that whoever forks may ask it.

// RFC 3261 section 16.7 step 6 prefers those that tell the caller how to ask again.
const instructive = [401, 407, 415, 420, 484]
// Those that tell the caller least: the branch was given up, or it has lost its way.
const empty = [481, 487, 430, 408, 503]

function rank(status: number): number {
  if (status >= 600) return 0
  const place = instructive.indexOf(status)
  const within = place === -1 ? instructive.length + 1 + empty.indexOf(status) : place
  return Math.floor(status / 100) * 100 + within
}

/**
 * The index of the best of these final statuses (RFC 3261 section 16.7 step 6): a 6xx before all, then the lowest class,
 * and the earlier of equals. -1 for an empty list.
 */
export function chooseBest(statuses: readonly number[]): number {
  let best = -1
  for (let i = 0; i < statuses.length; i++) {
    if (best === -1 || rank(statuses[i]!) < rank(statuses[best]!)) best = i
  }
  return best
}
