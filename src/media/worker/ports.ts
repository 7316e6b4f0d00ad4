import { Refusal } from '../../errors.ts'

/** First and last port of a setting such as `46000-46999`. Refuses `bad-config`. */
export function portRange(text: string, setting: string): { min: number; max: number } {
  const [min = 0, max = 0] = /^(\d{1,5})-(\d{1,5})$/.exec(text)?.slice(1).map(Number) ?? []
  if (min < 1 || max > 65535 || min > max)
    throw new Refusal('bad-config', `${setting} must be two ports such as 46000-46999, first to last, not '${text}'`)
  return { min, max }
}

/** The part of the loopback ports that belongs to one of `count` workers. */
export function shareOf(trunkPorts: string, index: number, count: number): { min: number; max: number } {
  const { min, max } = portRange(trunkPorts, 'media.trunkPorts')
  const share = Math.floor((max - min + 1) / count)
  if (share < 1) throw new Refusal('bad-config', `media.trunkPorts has fewer ports than there are workers (${count})`)
  return { min: min + index * share, max: min + (index + 1) * share - 1 }
}
