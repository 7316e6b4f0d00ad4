import type { Algorithm } from './digest.ts'

/** Which digest algorithms a challenge offers, best first (RFC 8760 section 2.4). */
export interface Choice {
  /** What an answer may use. */
  readonly accepted: readonly Algorithm[]
  offer(request: Challenged): readonly Algorithm[]
}

export interface Challenged {
  authorization: readonly string[]
  source: string
  callId?: string
  userAgent?: string
}

const both: readonly Algorithm[] = ['SHA-256', 'MD5']
const best: readonly Algorithm[] = ['SHA-256']
const md5: readonly Algorithm[] = ['MD5']

const mostRemembered = 10_000

/**
 * RFC 8760 wants a phone to skip an algorithm that it does not know. Some give up instead: those are known by their
 * User-Agent, or give themselves away by coming again in the same Call-ID without credentials. They are offered MD5
 * alone, which takes nothing from anybody: an attacker who can change challenges could do that by himself.
 */
export function createChoice(deps: { config: { md5: boolean; md5Agents: readonly string[] } }): Choice {
  const { md5: md5Accepted, md5Agents } = deps.config
  if (!md5Accepted) return { accepted: best, offer: () => best }
  // Map keeps the order of insertion: the oldest go first when it is full.
  const challenged = new Map<string, number>()

  function cameBack({ authorization, source, callId }: Challenged): boolean {
    if (authorization.length > 0 || callId === undefined) return false
    const key = `${source} ${callId.slice(0, 256)}`
    const times = challenged.get(key) ?? 0
    challenged.delete(key)
    challenged.set(key, times + 1)
    if (challenged.size > mostRemembered) challenged.delete(challenged.keys().next().value!)
    return times > 0
  }

  return {
    accepted: both,
    offer(request) {
      const agent = request.userAgent ?? ''
      if (md5Agents.some(beginning => agent.startsWith(beginning))) return md5
      return cameBack(request) ? md5 : both
    },
  }
}
