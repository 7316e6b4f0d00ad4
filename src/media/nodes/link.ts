import type { Side, Spot } from './carried.ts'
import type { Hosts } from './hosts.ts'

/**
 * Lets those who have moved and those who have not hear each other: a leg in each of the two rooms, which send each other
 * what a phone would get. A mix never holds what its listener has said, so nothing goes round.
 */
export async function linkSides(hosts: Hosts, from: Side, to: Side): Promise<{ near: Spot; far: Spot }> {
  const [near, far] = [from.host, to.host]
  const streams = [{ kind: 'audio', direction: 'sendrecv', codecs: ['opus'] }] as const
  const label = { link: `${near.node}-${far.node}` }
  const offer = await near.media.allocate({ profile: 'plain', towards: hosts.addressOf(far), streams, label })
  const made: Spot[] = [{ host: near, leg: offer.leg }]
  try {
    const towards = hosts.addressOf(near)
    const answer = await far.media.allocate({ profile: 'plain', towards, offer: offer.sdp, label })
    made.push({ host: far, leg: answer.leg })
    await near.media.answer(offer.leg, answer.sdp)
    await Promise.all([near.media.join(offer.leg, from.room, {}), far.media.join(answer.leg, to.room, {})])
  } catch (error) {
    await Promise.allSettled(made.map(({ host, leg }) => host.media.release(leg)))
    throw error
  }
  return { near: made[0]!, far: made[1]! }
}

/** Takes that away. */
export function unlink(side: Side, release: (spot: Spot) => void): void {
  const { link } = side
  side.link = undefined
  if (link === undefined) return
  release(link.near)
  release(link.far)
}
