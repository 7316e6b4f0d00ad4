import { readFileSync, writeFileSync } from 'node:fs'
import { availableParallelism, cpus } from 'node:os'
import { resolve } from 'node:path'

/** Puts tables into docs/benchmarks.md, between its marks `<!-- name: begin -->` and `<!-- name: end -->`. */
export function writeSection(name: string, tables: string): void {
  const file = resolve(import.meta.dirname, '../../../docs/benchmarks.md')
  const page = readFileSync(file, 'utf8')
  const [begin, end] = [`<!-- ${name}: begin -->`, `<!-- ${name}: end -->`]
  const [from, to] = [page.indexOf(begin), page.indexOf(end)]
  if (from < 0 || to < from) throw new Error(`${file} has no place for the tables of ${name}`)
  const machine = `Machine: ${availableParallelism()} cores, ${cpus()[0]?.model.trim()}.`
  writeFileSync(file, `${page.slice(0, from)}${begin}\n\n${machine}\n\n${tables}\n\n${page.slice(to)}`)
}
