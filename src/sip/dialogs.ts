// The seam to dialogs inside the engine, for calls that outlive their node.

/** A confirmed dialog (RFC 3261 section 12) as plain JSON. */
export interface DialogState {
  /** What has made it; absent: an INVITE. */
  kind?: 'SUBSCRIBE'
  /** The admin protocol's id: Call-ID and From tag of the request that made it. */
  id: string
  caller: boolean
  callId: string
  /** From and To values as they stand in our requests, tags included. */
  local: string
  remote: string
  localTag: string
  remoteTag: string
  localSequence: number
  /** Undefined while the peer has sent nothing in it. */
  remoteSequence?: number
  routes: string[]
  target: string
  /** Our Contact value. */
  contact: string
  /** The last SDP that we sent as UTF-8, for session refreshes by re-INVITE. The other texts hold a byte a character. */
  localSdp?: string
  peerTakesUpdate: boolean
  peerKnowsTimer: boolean
  /** Session timer (RFC 4028): seconds, and who refreshes; absent without one. */
  session?: { interval: number; refresher: 'local' | 'remote' }
  /** How the peer's requests came. */
  source: { protocol: string; address: string; port: number }
}

/** Rejects with a Refusal `server-error` while there is no connection to the engine. */
export interface EngineDialogs {
  /** Undefined when the engine has no such dialog any more. */
  read(id: string): Promise<DialogState | undefined>
  /**
   * Makes the engine know a dialog of another node; of one that lives here already only next hop and target are. `via` is
   * where its requests go from now on, as a next hop with an optional `;fl=` (a new registration's flow); without it the
   * route set and target decide. The contact is replaced by this node's own for that way. Our next CSeq leaves a gap for
   * what the dead node may have sent. A request that this application was shown of the dialog before, and has not
   * answered, becomes one of it: answer it as any other. Refuses `bad-request` for a state that is none.
   */
  install(state: DialogState, via?: string): Promise<void>
  /** Forgets a dialog without a BYE. */
  forget(id: string): Promise<void>
}
