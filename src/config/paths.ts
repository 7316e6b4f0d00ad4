import type { JsonSchema } from '../schema.ts'
import { configSchema } from './schema.ts'

/** One setting: its dotted path, its variable in the environment and what the schema says of it. */
export interface Setting {
  path: string
  variable: string
  schema: JsonSchema
}

/** `sip.udpMaxBytes` → `VAARTHA_SIP_UDP_MAX_BYTES`. */
function variableOf(path: string): string {
  return `VAARTHA_${path.replaceAll('.', '_').replace(/[A-Z]/g, c => `_${c}`)}`.toUpperCase()
}

function walk(node: JsonSchema, path: string): Setting[] {
  return Object.entries(node.properties ?? {}).flatMap(([key, child]) => {
    const here = path === '' ? key : `${path}.${key}`
    return child.properties === undefined
      ? [{ path: here, variable: variableOf(here), schema: child }]
      : walk(child, here)
  })
}

/** Every setting, in the schema's order. */
export const settings: readonly Setting[] = walk(configSchema, '')

/** The sections, `''` for the top, with their descriptions. */
export function sections(): { path: string; description: string }[] {
  const found: { path: string; description: string }[] = []
  const visit = (node: JsonSchema, path: string) => {
    if (node.properties === undefined) return
    found.push({ path, description: node.description ?? '' })
    for (const [key, child] of Object.entries(node.properties)) visit(child, path === '' ? key : `${path}.${key}`)
  }
  visit(configSchema, '')
  return found
}

/** The known word that is nearest to a mistyped one, when it is near enough to be meant. */
export function nearest(word: string, known: readonly string[]): string | undefined {
  const scored = known.map(candidate => ({
    candidate,
    distance: editDistance(word.toLowerCase(), candidate.toLowerCase()),
  }))
  const best = scored.sort((a, b) => a.distance - b.distance)[0]
  return best !== undefined && best.distance <= Math.max(1, Math.floor(word.length / 3)) ? best.candidate : undefined
}

/** Levenshtein distance. */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++) {
      next.push(Math.min(row[j]! + 1, next[j - 1]! + 1, row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1)))
    }
    row = next
  }
  return row[b.length]!
}
