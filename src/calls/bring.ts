import { setTimeout as wait } from 'node:timers/promises'
import { Refusal } from '../errors.ts'
import { unavailable } from './anchor.ts'
import { enter } from './anchored.ts'
import type { Call } from './call.ts'
import { asserted, bodyOf } from './headers.ts'
import type { Leg } from './leg.ts'
import { isAnchored } from './renegotiate.ts'
import { flowMs, type Summon } from './summon.ts'

// A direct call comes to this server, because it is to be recorded. Two phones follow a re-INVITE each. Of two browsers one
// comes by a new dialog (summon.ts), and the other follows when its partner's old connection is closed.

export interface BringDeps {
  summon: Summon
  domain: string
}

const sdp = { 'Content-Type': 'application/sdp' }

/** Brings a direct call to this server; one whose first end does not come is left as it was. Throws Refusal. */
export async function bring(deps: BringDeps, call: Call): Promise<void> {
  const [one, other] = call.legs
  if (call.state !== 'answered' || one === undefined || other === undefined) {
    throw new Refusal('request-pending', 'the call is not answered yet')
  }
  if (call.moving || call.leaving || call.coming) throw new Refusal('request-pending', 'the call is just changing')
  if (isAnchored(one, other)) return
  if (call.held) throw new Refusal('request-pending', 'the call is on hold')
  const missing = call.anchor.missing([one.end, other.end])
  if (missing) throw missing
  call.moving = true
  try {
    if (one.end.profile === 'webrtc' || other.end.profile === 'webrtc') await moveBrowsers(deps, call)
    else await movePhones(call, one, other)
  } finally {
    call.moving = false
  }
}

async function movePhones(call: Call, one: Leg, other: Leg): Promise<void> {
  const before = [one.localSdp, other.localSdp] as const
  try {
    await follow(call, one, other)
    await follow(call, other, one)
    await call.anchor.connect(one.end, other.end)
    if (call.ended) throw ended()
    call.log.info('media moves from the direct way to this server')
  } catch (error) {
    const moved = [one, other].filter(leg => leg.end.leg !== undefined && !leg.ended)
    for (const leg of moved) {
      leg.end.release()
      // Who has followed already gets back what it had.
      await leg.offer(before[leg === one ? 0 : 1], sdp)
    }
    throw error
  }
}

async function follow(call: Call, leg: Leg, partner: Leg): Promise<void> {
  const status = await enter(call, leg, partner.end, {})
  if (call.ended) throw ended()
  if (status < 300) return
  if (isLost(status)) lose(call, leg)
  throw new Refusal('not-acceptable-here', `${leg.party.user} did not follow to this server (${status})`)
}

// The other browser may take so long; when it follows later, the two hear each other again all the same.
const followMs = 10_000
const soonMs = 3000

async function moveBrowsers({ summon, domain }: BringDeps, call: Call): Promise<void> {
  // Our own web phone answers at once; another program may know Replaces only by name.
  const able = call.legs
    .filter(leg => leg.knowsReplaces)
    .toSorted((a, b) => Number(b.isWebPhone) - Number(a.isWebPhone))
  for (const leg of able) {
    const stay = call.peerOf(leg)
    const found = stay && (await summon(call, leg, stay))
    if (call.ended) throw ended()
    if (!stay || !found) continue
    const { come } = found
    const flows = call.anchor.flows(stay.end, flowMs)
    const headers = asserted(come.party, domain)
    const status = await Promise.race([join(call, come, stay, headers), wait(followMs, 408, { ref: false })])
    if (call.ended) throw ended()
    if (status < 300) {
      call.log.info('media moves from the direct way to this server')
      await flows
      // This one began earlier. Media that is there before its line is told of here by nobody.
      await Promise.race([found.flows, wait(soonMs, undefined, { ref: false })])
      if (call.ended) throw ended()
      return
    }
    throw new Refusal('not-acceptable-here', `${stay.party.user} did not follow to this server (${status})`)
  }
  throw unavailable(
    "Two browsers talk directly and neither comes to this server: with calls.browserMedia 'relay' their next call can be recorded",
  )
}

/** Brings who stays to who came; gives the final status. Never rejects. */
async function join(call: Call, come: Leg, stay: Leg, headers: Record<string, string>): Promise<number> {
  try {
    const status = await enter(call, stay, come.end, headers)
    if (call.ended) return status
    if (status < 300) await call.anchor.connect(come.end, stay.end)
    else if (isLost(status)) lose(call, stay)
    else await goBack(call, come, stay)
    return status
  } catch (error) {
    if (!(error instanceof Refusal)) {
      call.fail(error)
      return 500
    }
    stay.end.release()
    await goBack(call, come, stay)
    return error.sipStatus
  }
}

/** Who stays does not come: then the two go back to the direct way, with a new description of who has a new connection. */
async function goBack(call: Call, come: Leg, stay: Leg): Promise<void> {
  if (call.ended) return
  come.end.release()
  const offered = await come.offer(undefined)
  if (offered.status >= 300) return
  const answer = await stay.offer(offered.response?.body, sdp)
  const answered = answer.status < 300 ? answer.response?.body : undefined
  come.localSdp = answered ?? come.localSdp
  offered.ack(answer.response && answered ? bodyOf(answer.response) : { body: come.localSdp, headers: sdp })
  call.log.info({ status: answer.status, who: stay.party.user }, 'media goes back to the direct way')
}

const isLost = (status: number) => status === 481 || status === 408
const ended = () => new Refusal('no-such-call', 'the call has ended')

function lose(call: Call, leg: Leg): void {
  call.end({ status: 480, reason: `the connection of ${leg.party.user} was lost` })
}
