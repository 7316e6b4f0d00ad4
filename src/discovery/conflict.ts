import { sameName } from './names.ts'
import { dataBytes, identityOf, type OwnRecord, type WireRecord } from './records.ts'

// Pure: who may keep a name (RFC 6762 sections 8.1, 8.2 and 9).

/**
 * True when a received record shows that another host holds the name of `own`, our unique records of one name. While we
 * probe, any record of that name does; afterwards only another one of a type that we have there.
 */
export function conflicts(own: readonly OwnRecord[], received: WireRecord, probing: boolean): boolean {
  if (received.ttl === 0 || received.type === 'NSEC' || received.type === 'OPT') return false
  const named = own.filter(r => sameName(r.name, received.name))
  if (named.length === 0) return false
  if (!probing && !named.some(r => r.type === received.type)) return false
  const identity = identityOf(received)
  return !named.some(r => r.identity === identity)
}

const numbers: Record<string, number> = { A: 1, HINFO: 13, TXT: 16, AAAA: 28, SRV: 33 }

function typeNumber(type: string): number {
  return numbers[type] ?? (Number(type.replace(/^UNKNOWN_/, '')) || 65535)
}

function compareRecords(a: WireRecord, b: WireRecord): number {
  return typeNumber(a.type) - typeNumber(b.type) || Buffer.compare(dataBytes(a), dataBytes(b))
}

/**
 * The tie-break of two hosts that probe for one name at the same time: below 0 when `ours` loses, above 0 when it wins,
 * 0 when both propose the same (RFC 6762 section 8.2).
 */
export function tieBreak(ours: readonly WireRecord[], theirs: readonly WireRecord[]): number {
  const left = [...ours].sort(compareRecords)
  const right = [...theirs].sort(compareRecords)
  for (const [i, record] of left.entries()) {
    const other = right[i]
    if (!other) return 1
    const order = compareRecords(record, other)
    if (order !== 0) return order
  }
  return left.length - right.length
}
