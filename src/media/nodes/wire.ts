import type { LegEvent, LegWish, MediaLoad, MediaState, Membership, Prompt, RoomWish, Stream } from '../media.ts'

// What a node that wants media carried and a media node say to each other, as plain JSON over the bus. Who asks names legs,
// rooms and what is played itself, so that it can end what it was never told the beginning of.

/** Plain JSON. */
export type Json = null | boolean | number | string | Json[] | { [key: string]: Json }

/** Questions to a node: what the media room needs of the bus. Rejects with a Refusal, `node-unavailable` without an answer. */
export interface Asking {
  ask(node: string, verb: string, question: Json, timeoutMs?: number): Promise<Json>
  /** Answers such questions; the returned function ends that. */
  answer(verb: string, how: (question: Json, from: string) => Promise<Json>): () => void
}

export const verbs = { hello: 'mediaHello', work: 'media', events: 'mediaEvents' } as const

/** An address of a media node, and how much of it is the network. */
export interface Subnet {
  address: string
  prefix: number
  internal: boolean
}

/** How a media node is. */
export interface Condition {
  life: string
  state: MediaState
  load: MediaLoad
  /** 0 idle, 1 all that it can carry; more is possible. */
  busy: number
  addresses: Subnet[]
}

/** Asked again and again; a session that is not heard of ends with all that belongs to it. */
export interface Hello {
  session: string
}

export interface HelloAnswer extends Condition {
  /** The session was there before; false when it has just begun. */
  known: boolean
}

/** What may be asked within a session, each with a number that grows: by two ways at once it is answered once. */
export interface Work {
  allocate: { ask: { leg: string; wish: Omit<LegWish, 'onEvent'> }; answer: { sdp: string; streams: Stream[] } }
  answer: { ask: { leg: string; sdp: string }; answer: { streams: Stream[] } }
  offer: { ask: { leg: string; change?: OfferChange }; answer: { sdp: string } }
  accept: {
    ask: { leg: string; offer: string; streams?: readonly Stream[] }
    answer: { sdp: string; streams: Stream[] }
  }
  join: { ask: { leg: string; room: string; as?: Membership }; answer: null }
  leave: { ask: { leg: string }; answer: null }
  release: { ask: { leg: string }; answer: null }
  migrate: { ask: { leg: string }; answer: null }
  open: { ask: { room: string; wish: Omit<RoomWish, 'onSpeaker'> }; answer: null }
  shut: { ask: { room: string }; answer: null }
  play: { ask: { playing: string; to: PlayTo; prompt: Prompt; loop?: boolean }; answer: null }
  hush: { ask: { playing: string }; answer: null }
  record: { ask: { recording: string; room: string; name: string; perSpeaker: boolean }; answer: null }
  stopRecord: { ask: { recording: string }; answer: { files: RecordedPart[] } }
  /** Base64 of a piece of a recording's file; `done` when it was the last. */
  fetch: { ask: { recording: string; file: string; offset: number }; answer: { piece: string; done: boolean } }
  drop: { ask: { recording: string }; answer: null }
}

export type WorkName = keyof Work
export type PlayTo = { leg: string } | { room: string }
export interface OfferChange {
  streams?: readonly Stream[]
  restartIce?: boolean
}

/** A file of a recording, its name without directory. */
export interface RecordedPart {
  file: string
  speaker: string
  seconds: number
  bytes: number
}

/** What a media node tells without being asked. */
export type Told =
  | { leg: string; event: LegEvent }
  | { room: string; speaker: string | null }
  /** It has ended by itself. */
  | { playing: string }

/** Told in their order; `from` is the number of the first, since what was told may be told again. */
export interface Tellings {
  session: string
  from: number
  all: Told[]
}

/** The text of JSON without what is undefined; the types above hold nothing else that JSON would lose. */
export function toJson(value: object): Json {
  return value as Json
}
