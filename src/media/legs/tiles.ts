/** One video that could be shown. */
export interface Picture {
  id: string
  screen: boolean
}

/**
 * Which picture each line shows. `wanted` is ordered by importance; as many are shown as there are lines. A picture keeps
 * its line as long as it is shown at all, for who looks at it should not have to search it.
 */
export function chooseTiles(
  lines: readonly string[],
  shown: ReadonlyMap<string, string>,
  wanted: readonly string[],
): Map<string, string> {
  const visible = wanted.slice(0, lines.length)
  const next = new Map<string, string>()
  for (const line of lines) {
    const picture = shown.get(line)
    if (picture !== undefined && visible.includes(picture) && ![...next.values()].includes(picture)) {
      next.set(line, picture)
    }
  }
  const placed = new Set(next.values())
  const waiting = visible.filter(picture => !placed.has(picture))
  for (const line of lines) {
    if (next.has(line)) continue
    const picture = waiting.shift()
    if (picture !== undefined) next.set(line, picture)
  }
  return next
}

/** Screens first, then who has spoken last, then who has been here longest. */
export function orderPictures<P extends Picture & { leg: string }>(
  pictures: readonly P[],
  spoken: readonly string[],
): P[] {
  const rank = (leg: string) => {
    const at = spoken.indexOf(leg)
    return at === -1 ? spoken.length : at
  }
  return pictures.toSorted((a, b) => Number(b.screen) - Number(a.screen) || rank(a.leg) - rank(b.leg))
}
