import { createHash } from 'node:crypto'

const longestLabel = 63

/** Cuts text to at most `bytes` bytes of UTF-8 without breaking a character: a DNS label holds 63 (RFC 1035 section 2.3.4). */
function cut(text: string, bytes: number): string {
  let kept = text
  while (Buffer.byteLength(kept) > bytes) kept = [...kept].slice(0, -1).join('')
  return kept
}

/** The first label to try for a wished name: `vaartha` for `vaartha`, `vaartha.local` and `vaartha.local.`. */
export function firstLabel(wished: string): string {
  const bare = wished.trim().replace(/\.?local\.?$/i, '')
  return cut(bare.replace(/[^\p{L}\p{N}-]+/gu, '-').replace(/^-+|-+$/g, ''), longestLabel) || 'vaartha'
}

/** The label of attempt `attempt` (from 1): `vaartha`, `vaartha-2`, `vaartha-3` (RFC 6762 section 9). */
export function labelOf(first: string, attempt: number): string {
  if (attempt <= 1) return first
  const suffix = `-${attempt}`
  return cut(first, longestLabel - suffix.length) + suffix
}

/** The service instance label of a host: its label and six letters that stay the same for this node. */
export function instanceOf(label: string, nodeId: string): string {
  const suffix = `-${createHash('sha256').update(nodeId).digest('hex').slice(0, 6)}`
  return cut(label, longestLabel - suffix.length) + suffix
}

/** Names are compared without case (RFC 6762 section 16). */
export function sameName(a: string, b: string): boolean {
  return a.length === b.length && a.toLowerCase() === b.toLowerCase()
}
