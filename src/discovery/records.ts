import { type Answer, encode } from 'dns-packet'
import { sameName } from './names.ts'

// Pure: which records this host has on one interface, and which of them answer a question (RFC 6762 section 6).

/** A record as it is on the wire, whoever sent it. `ttl` is in seconds. */
export interface WireRecord {
  name: string
  type: string
  ttl: number
  data: unknown
}

/** A record of ours. */
export interface OwnRecord extends WireRecord {
  /** Nobody else may have a record of this name and type: it is probed for, and sent with the cache-flush bit. */
  unique: boolean
  /** The unique name that must have been claimed before this record may be sent; in lower case. */
  needs: string
  /** Type and data in one text; two records of one name are the same when these are equal. */
  identity: string
  /** Bytes that the record takes in a packet. */
  size: number
}

export interface Question {
  name: string
  type: string
  /** The asker wants a unicast answer (the QU bit, RFC 6762 section 5.4). */
  unicast: boolean
}

export interface AnswerSet {
  answers: OwnRecord[]
  additionals: OwnRecord[]
}

/** How long a record of a host's name may be cached, in seconds (RFC 6762 section 10). */
export const hostTtl = 120
/** Of a name that may move to another node at any time: a cache that misses the move forgets the old address by itself. */
export const sharedTtl = 10

// An encoded packet with one record of the root's name: 12 bytes of header, 1 of name, 10 up to the data.
const dataOffset = 23

/** The uncompressed data bytes of a record, for comparing (RFC 6762 section 8.2). */
export function dataBytes(record: WireRecord): Buffer {
  const answer = { ...record, name: '.' } as unknown as Answer
  return encode({ type: 'response', answers: [answer] }).subarray(dataOffset)
}

/** Type and data of a record in one text. */
export function identityOf(record: WireRecord): string {
  return `${record.type} ${dataBytes(record).toString('latin1')}`
}

export function ownRecord(record: WireRecord, options: { unique: boolean; needs: string }): OwnRecord {
  const identity = identityOf(record)
  const data = identity.length - record.type.length - 1
  return {
    name: record.name,
    type: record.type,
    ttl: record.ttl,
    data: record.data,
    unique: options.unique,
    needs: options.needs.toLowerCase(),
    identity,
    size: Buffer.byteLength(record.name) + 2 + 10 + data,
  }
}

/** The A and AAAA records of `host` for the addresses of one interface; `ttl` in seconds. */
export function hostRecords(
  host: string,
  addresses: readonly { address: string; family: 4 | 6 }[],
  ttl = hostTtl,
): OwnRecord[] {
  return addresses.map(({ address, family }) =>
    ownRecord({ name: host, type: family === 4 ? 'A' : 'AAAA', ttl, data: address }, { unique: true, needs: host }),
  )
}

/** Says which types a unique name has, and thereby that it has no others (RFC 6762 section 6.1). */
function denial(name: string, records: readonly OwnRecord[]): OwnRecord | undefined {
  const own = records.filter(r => r.unique && sameName(r.name, name))
  if (own.length === 0) return undefined
  const rrtypes = [...new Set(own.map(r => r.type))]
  return ownRecord(
    { name: own[0]!.name, type: 'NSEC', ttl: hostTtl, data: { nextDomain: own[0]!.name, rrtypes } },
    { unique: true, needs: name },
  )
}

function find(records: readonly OwnRecord[], name: string, type: string): OwnRecord[] {
  return records.filter(r => (type === 'ANY' || r.type === type) && sameName(r.name, name))
}

/** A record's data that names another record: the instance of a PTR, the host of an SRV. */
function pointsTo(record: OwnRecord): string | undefined {
  if (record.type === 'PTR') return record.data as string
  if (record.type === 'SRV') return (record.data as { target: string }).target
  return undefined
}

/** The addresses of a host, and a denial of the family that it has no address of. */
function addressesOf(records: readonly OwnRecord[], host: string): OwnRecord[] {
  const a = find(records, host, 'A')
  const aaaa = find(records, host, 'AAAA')
  const none = a.length === 0 || aaaa.length === 0 ? denial(host, records) : undefined
  return none ? [...a, ...aaaa, none] : [...a, ...aaaa]
}

/** What an asker will want next (RFC 6762 section 6.2, RFC 6763 section 12). */
function furtherOf(records: readonly OwnRecord[], answer: OwnRecord): OwnRecord[] {
  if (answer.type === 'A' || answer.type === 'AAAA') return addressesOf(records, answer.name)
  const target = pointsTo(answer)
  if (target === undefined) return []
  if (answer.type === 'SRV') return addressesOf(records, target)
  const instance = [...find(records, target, 'SRV'), ...find(records, target, 'TXT')]
  return instance.flatMap(r => (r.type === 'SRV' ? [r, ...addressesOf(records, pointsTo(r)!)] : [r]))
}

/** Known-answer suppression: the asker has the record and will keep it for half its life at least (RFC 6762 section 7.1). */
function isKnown(record: OwnRecord, known: readonly WireRecord[]): boolean {
  return known.some(
    k =>
      k.type === record.type &&
      k.ttl * 2 >= record.ttl &&
      sameName(k.name, record.name) &&
      identityOf(k) === record.identity,
  )
}

/** The answers to `questions` from `records`, without what the asker knows already. */
export function answer(
  questions: readonly Question[],
  records: readonly OwnRecord[],
  known: readonly WireRecord[] = [],
): AnswerSet {
  const answers = new Map<string, OwnRecord>()
  const additionals = new Map<string, OwnRecord>()
  const key = (r: OwnRecord) => `${r.name.toLowerCase()} ${r.identity}`
  for (const { name, type } of questions) {
    const positive = find(records, name, type)
    const none = positive.length === 0 ? denial(name, records) : undefined
    for (const record of none ? [none] : positive) if (!isKnown(record, known)) answers.set(key(record), record)
  }
  for (const record of answers.values()) {
    for (const more of furtherOf(records, record)) {
      if (!answers.has(key(more)) && !isKnown(more, known)) additionals.set(key(more), more)
    }
  }
  return { answers: [...answers.values()], additionals: [...additionals.values()] }
}

/** Splits records into packets of at most `bytes` bytes of records, so that none is fragmented (RFC 6762 section 17). */
export function inPackets(records: readonly OwnRecord[], bytes: number): OwnRecord[][] {
  const packets: OwnRecord[][] = []
  let room = 0
  for (const record of records) {
    if (packets.length === 0 || record.size > room) {
      packets.push([])
      room = bytes
    }
    packets.at(-1)!.push(record)
    room -= record.size
  }
  return packets
}
