import { readdirSync, readFileSync } from 'node:fs'

// What a process and all its children have used, from Linux' /proc.

// USER_HZ, 100 on every Linux that Node runs on.
const ticksPerSecond = 100

/** CPU seconds, of the user and the system, that `pid` and its living children have used so far. */
export function cpuSeconds(pid: number): number {
  let ticks = 0
  for (const each of family(pid)) {
    const fields = statOf(each)
    ticks += Number(fields[11]) + Number(fields[12])
  }
  return ticks / ticksPerSecond
}

/**
 * Resident bytes of `pid`, program and libraries included; of a family each member's proportional share, so that what
 * they share counts once.
 */
export function residentBytes(pid: number): number {
  let kilobytes = 0
  const members = family(pid)
  for (const each of members) {
    const text = readFileSync(`/proc/${each}/smaps_rollup`, 'utf8')
    const line = members.length === 1 ? /^Rss:\s+(\d+) kB/m : /^Pss:\s+(\d+) kB/m
    kilobytes += Number(line.exec(text)?.[1] ?? 0)
  }
  return kilobytes * 1024
}

function family(pid: number): number[] {
  const parents = new Map<number, number>()
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue
    const parent = Number(statOf(Number(name))[1])
    if (parent > 0) parents.set(Number(name), parent)
  }
  const members = [pid]
  // The list grows while it is walked: children of children.
  for (const member of members) for (const [child, parent] of parents) if (parent === member) members.push(child)
  return members
}

/** The fields of /proc/pid/stat from the third on: the second, the name, may hold spaces. */
function statOf(pid: number): string[] {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8')
    return text.slice(text.lastIndexOf(')') + 2).split(' ')
  } catch (error) {
    // It ended between the listing and the reading.
    if (error instanceof Error && 'code' in error && (error.code === 'ENOENT' || error.code === 'ESRCH')) return []
    throw error
  }
}
