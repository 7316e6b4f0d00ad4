import { setTimeout as wait } from 'node:timers/promises'
import { Refusal } from '../errors.ts'
import { likeLeg } from './anchored.ts'
import type { Call } from './call.ts'
import { createFork } from './fork.ts'
import { identity, opening } from './headers.ts'
import type { Leg } from './leg.ts'
import type { Ringer } from './ring.ts'
import type { Target } from './route.ts'
import type { Ack, SrfPort } from './sip.ts'

// A browser that talks directly comes to this server by a new dialog in place of its old one (RFC 3891): so it gets a new
// connection for its media too, since the old one cannot leave its partner while that still holds on to it.

export interface SummonDeps {
  srf: SrfPort
  ringer: Pick<Ringer, 'find'>
  config: { sessionExpires: number; minSe: number }
  domain: string
}

/**
 * Calls the device of `leg` once more, to talk with `stay` over this server; resolves with the leg that has taken its place,
 * when its old dialog is over. Undefined: it did not come at once, and all is as it was.
 */
export type Summon = (call: Call, leg: Leg, stay: Leg) => Promise<Come | undefined>

export interface Come {
  come: Leg
  /** Resolves when its media flows, or is not waited for any longer. */
  flows: Promise<void>
}

// Nobody is to answer that: a program that knows Replaces does it by itself.
const answerMs = 5000
const byeMs = 2000
/** How long media is waited for: some begin their DTLS handshake only when they try for the second time. */
export const flowMs = 6000

export function createSummon({ srf, ringer, config, domain }: SummonDeps): Summon {
  async function targetOf({ party, device }: Leg): Promise<Target | undefined> {
    try {
      const { targets } = await ringer.find(party.user, undefined, device.contact)
      const own = targets.find(
        ({ uri, device: { instance, registration } }) =>
          uri === device.contact ||
          registration === device.registration ||
          (instance !== undefined && instance === device.instance),
      )
      return own ?? (targets.length === 1 ? targets[0] : undefined)
    } catch (error) {
      if (!(error instanceof Refusal)) throw error
      return undefined
    }
  }

  function invite(call: Call, leg: Leg, stay: Leg, target: Target): Promise<Come | undefined> {
    const headers = {
      ...opening(config, false),
      ...identity(stay.party, domain),
      To: `<sip:${leg.party.user}@${domain}>`,
      Replaces: leg.replacesValue,
      // Who does not know it shall refuse, and not ring.
      Require: 'replaces',
    }
    return new Promise((resolve, reject) => {
      const options = { srf, headers, ringMs: answerMs, mostRedirects: 0, mostForks: 1, log: call.log }
      const fork = createFork(
        {
          ...options,
          body: ({ end }) => call.anchor.offer(end, { streams: likeLeg(call, stay, end) }),
        },
        {
          onProgress: (_branch, response, ack) => (response.has('RSeq') ? ack() : undefined),
          onAnswer(branch, response, ack: Ack) {
            const come = call.calleeLeg(branch, response, leg.party)
            come.localSdp = branch.body ?? ''
            ack()
            const flows = call.anchor.flows(come.end, flowMs)
            call.anchor.accept(come.end, response.body).then(() => resolve({ come, flows }), reject)
          },
          onLate: (...late) => call.onLate(...late),
          onFailure(status) {
            call.log.info({ status, who: leg.party.user }, 'a browser did not come to this server')
            resolve(undefined)
          },
          onRedirect: async () => [],
        },
      )
      fork.start([target])
    })
  }

  return async (call, leg, stay) => {
    const target = await targetOf(leg)
    if (target === undefined || call.ended) return undefined
    call.leaving = leg
    const found = await invite(call, leg, stay, target)
    if (found === undefined) {
      call.leaving = undefined
      if (leg.ended) call.end({ status: 487, reason: `hung up (${leg.party.user})` })
      return undefined
    }
    const { come } = found
    if (call.ended) {
      void come.bye()
      return undefined
    }
    call.replace(leg, come)
    // Its partner can follow when the old connection is closed.
    await Promise.race([leg.bye(), wait(byeMs, undefined, { ref: false })])
    return found
  }
}
