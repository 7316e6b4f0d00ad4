import { EventEmitter } from 'node:events'

// The catalogue of facts. A fact says what has happened; nobody waits for it and nobody answers it. Rooms emit facts,
// http (metrics, live view) and server.ts listen. A fact holds plain JSON data and no secrets.

export type Protocol = 'udp' | 'tcp' | 'tls' | 'ws' | 'wss'

export interface Facts {
  /** A binding was added or renewed. */
  registered: {
    aor: string
    contact: string
    expires: number
    protocol: Protocol
    source: string
    renewed: boolean
    userAgent: string
  }
  /** A binding ended. `why`: the phone asked, its time ran out, its connection closed, a new flow took its place, or an operator removed it. */
  unregistered: { aor: string; contact: string; why: 'requested' | 'expired' | 'flow-closed' | 'replaced' | 'removed' }
  /** A REGISTER was answered, `ms` after it came. */
  registerAnswered: { status: number; ms: number }
  /** A digest answer was wrong, or an address is banned for such. */
  authFailed: {
    source: string
    user: string
    why: 'unknown-user' | 'wrong-password' | 'disabled' | 'replay' | 'malformed'
  }
  banned: { source: string; seconds: number }
  callStarted: { id: string; from: string; to: string }
  callRinging: { id: string; to: string; ms: number }
  callAnswered: { id: string; from: string; to: string; ms: number }
  callChanged: { id: string; change: 'held' | 'resumed' | 'media' | 'transferred' | 'recording' }
  /** `result`: how it ended, in one word; `status`: the final SIP status given to the caller, 200 when it was answered. */
  callEnded: { id: string; from: string; to: string; result: CallResult; status: number; seconds: number }
  /** A call of another node came here, `node` is the life that had it. */
  callTaken: { id: string; from: string; to: string; node: string }
  /** A SIP message passed the engine. `status` is 0 in a request. */
  sipMessage: { direction: 'in' | 'out'; method: string; status: number; protocol: Protocol }
  /** Something that arrived was no SIP message or broke a limit. */
  malformed: { source: string; protocol: Protocol; reason: string }
  flowOpened: { flow: string; protocol: Protocol; source: string }
  flowClosed: { flow: string; protocol: Protocol; source: string }
  storeFailed: { store: 'location' | 'accounts' | 'records' | 'redis'; operation: string; message: string }
  /** Redis has answered, `ms` after it was asked. */
  redisAnswered: { ms: number }
  storeRecovered: { store: 'location' | 'accounts' | 'records' | 'redis' }
  /** A node of the cluster came, changed or went; `was` is '' for one that was not known before. */
  nodeChanged: { node: string; life: string; state: string; was: string }
  /** A fact of another node, told for who wants to see the whole cluster. */
  elsewhere: { node: string; what: string; fact: Record<string, unknown> }
  /** A drill does its next step (`running`), or has ended: `step` says so in words. */
  drillChanged: { id: string; state: 'running' | 'passed' | 'failed' | 'broken' | 'skipped'; step: string }
  addressesChanged: { addresses: string[] }
  nameClaimed: { name: string }
  nameConflict: { name: string; next: string }
  /** A party's media goes through this server, or has ceased to. `ms` is how long it did. */
  legOpened: { leg: string; profile: 'webrtc' | 'plain' }
  legClosed: { leg: string; profile: 'webrtc' | 'plain'; ms: number }
  /** The SFU worker's way onto this machine (`why` in words), and a worker process that died and was replaced. */
  mediaStateChanged: { sfu: 'ready' | 'preparing' | 'unavailable'; why: string }
  workerDied: { pid: number; legs: number }
  /** A leg was given to a node of the cluster, or that one refused it. */
  mediaPlaced: { node: string; result: 'done' | 'refused' }
  /** A leg is on another node, `ms` after what brought that about; `undone`: it stays where it was. */
  mediaMoved: { from: string; to: string; why: 'moved' | 'lost'; ms: number; undone: boolean }
  /** A media node does not answer any more, and so many legs that it had are made anew elsewhere. */
  mediaNodeLost: { node: string; legs: number; why: string }
  /** The FreeSWITCH that mixes meetings has come or gone (`why` in words), and a meeting that it took with it goes on here. */
  mixerChanged: { on: boolean; why: string }
  meetingMoved: { members: number; why: string }
  /** A MESSAGE was answered with `status`: 200 a device has it, 202 it is kept or goes to a group. */
  messageAnswered: { status: number; ms: number }
  /** A message has come to one device at least, `ms` after it was accepted; `kept`: in between it was kept. */
  messageDelivered: { kept: boolean; ms: number }
  groupStarted: { group: string; meeting: string }
  /** A meeting of another node goes on here, with so many members. */
  groupTaken: { group: string; meeting: string; members: number }
  /** An INVITE or SUBSCRIBE for a group's address went to the node that has its meeting. */
  groupPassed: { group: string; node: string; method: string }
  groupChanged: {
    meeting: string
    change: 'joined' | 'left' | 'muted' | 'unmuted' | 'locked' | 'unlocked' | 'recording' | 'speaker'
    who: string
    members: number
  }
  /** The shape of a meeting's media; `ms` from the decision to everybody being on the new one. */
  topologyChanged: { meeting: string; from: Topology; to: Topology; ms: number; rolledBack: boolean }
  groupEnded: { meeting: string; seconds: number; most: number }
  certificateChanged: { names: string[]; notAfter: string }
}

/** How the media of a meeting flows: between two, each to each, or through the SFU. */
export type Topology = 'direct' | 'mesh' | 'sfu'

export type CallResult =
  | 'answered'
  | 'busy'
  | 'declined'
  | 'no-answer'
  | 'cancelled'
  | 'unavailable'
  | 'not-found'
  | 'forbidden'
  | 'failed'

export type FactName = keyof Facts

export interface Events {
  emit<N extends FactName>(name: N, fact: Facts[N]): void
  /** Calls `listener` for each such fact; the returned function ends that. */
  on<N extends FactName>(name: N, listener: (fact: Facts[N]) => void): () => void
  /** Calls `listener` for every fact of any name. */
  onAny(listener: (name: FactName, fact: Facts[FactName]) => void): () => void
}

export function createEvents(): Events {
  const emitter = new EventEmitter()
  emitter.setMaxListeners(0)
  const any = Symbol('any')
  return {
    emit(name, fact) {
      emitter.emit(name, fact)
      emitter.emit(any, name, fact)
    },
    on(name, listener) {
      emitter.on(name, listener)
      return () => emitter.off(name, listener)
    },
    onAny(listener) {
      emitter.on(any, listener)
      return () => emitter.off(any, listener)
    },
  }
}
