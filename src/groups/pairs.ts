import type { Headers } from '../calls/sip.ts'
import type { Bus, Json } from '../cluster/bus.ts'
import type { Members } from '../cluster/members.ts'
import { Refusal } from '../errors.ts'
import { sameUriText } from '../sip/engine/message/uri.ts'
import { readPair } from './addresses.ts'
import type { Meeting } from './meeting.ts'

export interface PairsDeps {
  find(meeting: string): Meeting | undefined
  /** The other nodes, which may have the meeting of two that call each other here. */
  others: { bus: Pick<Bus, 'ask' | 'answer'>; members: Pick<Members, 'life' | 'list'> } | undefined
}

export interface Pairs {
  /**
   * What the INVITE of a pair may pass on; undefined when it is no call between members (docs/meetings.md). Rejects with a
   * Refusal `temporarily-unavailable` for a pair that is not wanted any more, or not yet.
   */
  headers(req: { uri: string; get(name: string): string | undefined }, user: string): Promise<Headers | undefined>
  close(): void
}

const verb = 'meetings.pair'
const askMs = 1500

/** The calls that members of a mesh have with each other: only the node that has their meeting knows which are wanted. */
export function createPairs({ find, others }: PairsDeps): Pairs {
  function here(uri: string, value: string, user: string): Headers | undefined {
    const pair = readPair(value)
    const meeting = pair && find(pair.meeting)
    const [from, to] = [meeting?.member(pair?.from ?? 0), meeting?.member(pair?.to ?? 0)]
    if (!pair || !meeting || from?.person.user !== user) return undefined
    const meant = to?.mesh === true && sameUriText(uri, to.dialog.remoteContact)
    // Without its header it would ring at the other's, who would see a call from somebody in the same meeting.
    if (!meant || !meeting.shape.pairs(from.id, to.id, pair.epoch))
      throw new Refusal('temporarily-unavailable', 'the meeting does not want this pair now')
    return { 'Vaartha-Mesh': `${meeting.id};epoch=${pair.epoch};from=${from.id};to=${to.id}` }
  }

  async function answer(question: Json): Promise<Json> {
    const [uri, value, user] = Array.isArray(question) ? question : []
    if (typeof uri !== 'string' || typeof value !== 'string' || typeof user !== 'string')
      throw new Refusal('bad-request')
    return (here(uri, value, user) as Json | undefined) ?? null
  }

  async function ask(node: string, question: Json): Promise<Headers | undefined> {
    try {
      return ((await others?.bus.ask(node, verb, question, askMs)) as Headers | null) ?? undefined
    } catch (error) {
      // The node that has the meeting says no; one that says nothing is left out.
      if (error instanceof Refusal && error.code !== 'temporarily-unavailable') return undefined
      throw error
    }
  }

  const stop = others?.bus.answer(verb, answer)
  return {
    async headers(req, user) {
      const value = req.get('Vaartha-Mesh')
      const pair = readPair(value)
      if (pair === undefined || value === undefined) return undefined
      if (others === undefined || find(pair.meeting) !== undefined) return here(req.uri, value, user)
      const { members } = others
      const living = members.list().filter(({ life, state }) => life !== members.life && state !== 'down')
      const said = await Promise.all(living.map(({ node }) => ask(node, [req.uri, value, user])))
      return said.find(headers => headers !== undefined)
    },
    close: () => stop?.(),
  }
}
