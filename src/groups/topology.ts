import type { Topology } from '../events.ts'

// The shape of a meeting's media as a pure function of who is in it; carrying it out is the work of mesh.ts.

export interface ShapeMember {
  id: string
  /** Its client can send to each of the others directly and follow a change. */
  mesh: boolean
  /** It speaks RTP as desk phones do. */
  plain: boolean
}

export interface ShapeLimits {
  /** With more members than this all go through the SFU. */
  meshMost: number
  /** So many or fewer, for `backMs`, go back from the SFU. */
  meshBack: number
  backMs?: number
  /** The server must hear the meeting, for example to record it. */
  serverNeeded?: boolean
}

/** What was decided, and what the next decision must know of it. Times are in ms. */
export interface ShapeChoice {
  shape: Topology
  /** When this shape was first chosen. */
  since: number
  why: 'alone' | 'few' | 'many' | 'plain' | 'server'
  /** Since when a meeting on the SFU could be a mesh again. */
  fewSince?: number | undefined
  /** When to ask again although nobody comes or goes. */
  again?: number | undefined
}

const defaultBackMs = 10_000

/**
 * Two browsers talk directly; 3 to `meshMost` browsers form a mesh; more, or anybody who cannot mesh, take the SFU. Once
 * on the SFU for one of these reasons, a meeting goes back only after it has been small for `backMs`, so that somebody
 * who comes and goes at the limit does not shake all others. Who is alone is on the SFU, where the next one is met.
 */
export function chooseTopology(
  members: readonly ShapeMember[],
  limits: ShapeLimits,
  previous: ShapeChoice | undefined,
  now: number,
): ShapeChoice {
  const why = reasonFor(members, limits)
  const choose = (shape: Topology, more: Partial<ShapeChoice> = {}): ShapeChoice => ({
    shape,
    since: previous?.shape === shape ? previous.since : now,
    why,
    ...more,
  })
  if (why !== 'few') return choose('sfu')
  const shape = members.length === 2 ? 'direct' : 'mesh'
  const wasForced = previous?.shape === 'sfu' && previous.why !== 'alone'
  if (!wasForced) return choose(shape)
  const reason = previous.why
  if (members.length > limits.meshBack) return choose('sfu', { why: reason })
  const fewSince = previous.fewSince ?? now
  const again = fewSince + (limits.backMs ?? defaultBackMs)
  return now >= again ? choose(shape) : choose('sfu', { why: reason, fewSince, again })
}

function reasonFor(members: readonly ShapeMember[], limits: ShapeLimits): ShapeChoice['why'] {
  if (members.length < 2) return 'alone'
  if (members.some(member => member.plain || !member.mesh)) return 'plain'
  if (members.length > limits.meshMost) return 'many'
  return limits.serverNeeded ? 'server' : 'few'
}
