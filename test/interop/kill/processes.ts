import { readdirSync, readFileSync } from 'node:fs'

/** The processes that a process has started, by the beginning of their program's name. */
export function childrenOf(parent: number, program: string): number[] {
  return readdirSync('/proc')
    .filter(name => /^\d+$/.test(name))
    .map(Number)
    .filter(pid => {
      const [, name = '', started] = /\((.*)\) \S (\d+)/.exec(statOf(pid)) ?? []
      return Number(started) === parent && name.startsWith(program)
    })
}

/** Empty for one that has ended meanwhile. */
function statOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/stat`, 'latin1')
  } catch {
    return ''
  }
}
