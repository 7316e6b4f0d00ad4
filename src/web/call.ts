import type {
  EndEvent,
  IncomingInfoEvent,
  OutgoingEvent,
  OutgoingInfoEvent,
  ReferEvent,
  RTCSession,
} from 'jssip/lib/RTCSession'
import type { IncomingRequest, IncomingResponse } from 'jssip/lib/SIPMessage'
import { type CallState, type CallView, type SavedCall, whyEnded } from './call-view.ts'
import type { Devices } from './devices.ts'
import { type DialogId, dialogOf, follow, reoffer } from './jssip.ts'
import { type Mending, mend } from './mend.ts'
import { judge, type Sample, sampleOf } from './quality.ts'
import { beReplaced } from './replace.ts'
import { readNews, recordingPackage, withStream } from './sip.ts'
import { createStore, type Store } from './store.ts'
import type { Key } from './texts/texts.ts'

export interface CallDeps {
  devices: Devices
  /** True while requests can be sent. */
  connected(): boolean
  /** A new INVITE in place of a dialog that was lost; undefined when that cannot be had. */
  reattach(saved: SavedCall, stream: MediaStream): Promise<RTCSession | undefined>
  onEnded(call: Call): void
  /** The other end has become a meeting: `told` is its Vaartha-Meeting, `address` where it is. */
  onMeeting(call: Call, told: string, address: string): void
}

const statsMs = 2000

/** One call. Its connection may be made anew underneath; the call stays the same. */
export class Call {
  readonly view: Store<CallView>
  readonly #deps: CallDeps
  #session: RTCSession | undefined
  #stream: MediaStream | undefined
  #sound: { element: HTMLAudioElement; stop(): void } | undefined
  #mending: Mending | undefined
  // Kept apart: a session that has failed knows its dialog no more.
  #dialog: DialogId | undefined
  #timer: ReturnType<typeof setInterval>
  #sample: Sample | undefined
  #byUser = false
  // Resolves what was asked for last about the recording.
  #onNews: (done: boolean) => void = () => {}
  #uri = ''
  #unfollow: () => void

  constructor(deps: CallDeps, view: Pick<CallView, 'id' | 'direction' | 'name' | 'address'> & Partial<CallView>) {
    this.#deps = deps
    const state: CallState = view.direction === 'in' ? 'incoming' : 'calling'
    this.view = createStore<CallView>({
      held: false,
      heldByPeer: false,
      muted: false,
      recorded: false,
      quality: 'unknown',
      path: 'unknown',
      state,
      ...view,
    })
    this.#timer = setInterval(() => void this.#measure(), statsMs)
    this.#unfollow = deps.devices.onChosen(kind => void (kind === 'audioinput' && this.#changeMicrophone()))
  }

  get id(): string {
    return this.view.get().id
  }

  get ended(): boolean {
    return this.view.get().state === 'ended'
  }

  /** The signalling of the call now; undefined before it has begun. */
  get session(): RTCSession | undefined {
    return this.#session
  }

  /** Address of the other party. */
  get uri(): string {
    return this.#uri
  }

  /** Follows a session from now on: the first, or the one that has taken its place. */
  attach(session: RTCSession, stream?: MediaStream): void {
    this.#session = session
    this.#stream = stream ?? this.#stream
    this.#uri = session.remote_identity.uri.toString()
    follow(session, () => this.#session === session && !this.ended, {
      peerconnection: () => this.#follow(session),
      progress: () => this.#progress(session),
      accepted: (event: object) => {
        this.#talking()
        this.#lookForMeeting((event as Partial<OutgoingEvent>).response)
      },
      confirmed: () => this.#talking(),
      sdp: event => this.#readSdp(event),
      reinvite: ({ request }) => this.#lookForMeeting(request),
      // JsSIP has opened the microphone by itself, whether one is muted or not.
      unhold: () => this.#apply(),
      newInfo: ({ originator, info }: IncomingInfoEvent | OutgoingInfoEvent) => {
        if ((originator as string) === 'remote') this.#hearNews(info.body)
      },
      replaces: (event: ReferEvent) => this.#giveWay(event),
      ended: event => this.#gone(event),
      failed: event => this.#gone(event),
    })
    // An outgoing session has its connection from the beginning.
    if (session.connection) this.#follow(session)
  }

  /** A session that had been answered before it was attached. */
  taken(): void {
    this.#talking()
  }

  async answer(): Promise<void> {
    const session = this.#session
    if (session === undefined || this.view.get().state !== 'incoming') return
    try {
      this.#stream = await this.#deps.devices.microphone()
    } catch {
      session.terminate({ status_code: 480 })
      return this.end('noMicrophone')
    }
    if (!session.isEnded()) session.answer(withStream(this.#stream))
  }

  hangUp(): void {
    this.#byUser = true
    const session = this.#session
    if (session !== undefined && !session.isEnded()) {
      session.terminate(this.view.get().state === 'incoming' ? { status_code: 486 } : {})
    }
    this.end('endedByYou')
  }

  mute(muted: boolean): void {
    this.view.set({ muted })
    this.#apply()
  }

  /** Puts the other on hold or takes it back; false when that was refused. */
  async hold(held: boolean): Promise<boolean> {
    const session = this.#session
    if (session === undefined || this.view.get().held === held) return true
    const before = this.view.get().held
    this.view.set({ held })
    this.#apply()
    for (const transceiver of session.connection.getTransceivers())
      if (transceiver.currentDirection !== 'stopped') transceiver.direction = held ? 'sendonly' : 'sendrecv'
    if (await reoffer(session)) return true
    if (!session.isEnded()) {
      for (const transceiver of session.connection.getTransceivers())
        transceiver.direction = before ? 'sendonly' : 'sendrecv'
    }
    this.view.set({ held: before })
    this.#apply()
    return false
  }

  /** Sends a key within the sound (RFC 4733), or by INFO where the other side does not know that. */
  sendKey(key: string): void {
    const sender = this.#session?.connection.getSenders().find(one => one.dtmf !== null)
    if (sender?.dtmf?.canInsertDTMF) sender.dtmf.insertDTMF(key, 160, 70)
    else this.#session?.sendInfo('application/dtmf-relay', `Signal=${key}\r\nDuration=160\r\n`)
  }

  /** Asks the server to begin or end the recording; resolves when it has told what came of that, false when it refuses. */
  record(on: boolean): Promise<boolean> {
    const session = this.#session
    if (session === undefined || !session.isEstablished()) return Promise.resolve(false)
    session.sendInfo('application/json', JSON.stringify({ recording: on }), {
      extraHeaders: [`Info-Package: ${recordingPackage}`],
    })
    return new Promise(resolve => {
      this.#onNews = resolve
    })
  }

  /** Hands the other party to `target`, or connects it with the party of another call; resolves when it is known how that went. */
  transfer(target: string | Call): Promise<boolean> {
    const session = this.#session
    const other = typeof target === 'string' ? undefined : target.#session
    if (session === undefined || (typeof target !== 'string' && other === undefined)) return Promise.resolve(false)
    const to = typeof target === 'string' ? target : target.#uri
    return new Promise(resolve => {
      session.refer(to, {
        ...(other === undefined ? {} : { replaces: other }),
        eventHandlers: {
          requestFailed: () => resolve(false),
          failed: () => resolve(false),
          accepted: () => resolve(true),
        },
      })
      // When it has worked, the server ends this call; some do without telling before.
      session.on('ended', () => resolve(true))
    })
  }

  /** The network has changed: the old way is known to be dead before ICE notices. */
  networkChanged(): void {
    if (this.view.get().state === 'talking') this.#mending?.restart()
  }

  /** Signalling is back on a new connection: the server learns of it by a re-INVITE. */
  reconnected(): void {
    const { state } = this.view.get()
    if (this.#session?.isEstablished() && state === 'talking') this.#mending?.restart()
  }

  /** What a page that is loaded anew needs to go on with this call; undefined when there is nothing to go on with. */
  save(): SavedCall | undefined {
    const { name, address, direction, since, muted, held, state } = this.view.get()
    const dialog = this.#dialog
    if (dialog === undefined || since === undefined || state === 'ended') return undefined
    return { dialog, uri: this.#uri, name, address, direction, since, muted, held, at: Date.now() }
  }

  /** Gives session and microphone away to whoever goes on with them; the call is over without a word. */
  handOver(): { session: RTCSession; stream: MediaStream } | undefined {
    const [session, stream] = [this.#session, this.#stream]
    if (session === undefined || stream === undefined || this.ended) return undefined
    this.#mending?.stop()
    this.#session = this.#stream = undefined
    this.end('ended')
    return { session, stream }
  }

  end(why: Key): void {
    if (this.ended) return
    this.view.set({ state: 'ended', why, recorded: false, quality: 'unknown' })
    this.#onNews(true)
    clearInterval(this.#timer)
    this.#unfollow()
    this.#sound?.stop()
    for (const track of this.#stream?.getTracks() ?? []) track.stop()
    this.#deps.onEnded(this)
  }

  #follow(session: RTCSession): void {
    const heard = new MediaStream()
    this.#sound?.stop()
    this.#sound = this.#deps.devices.play(heard)
    const hear = (track: MediaStreamTrack) => {
      if (track.kind !== 'audio' || heard.getTracks().includes(track)) return
      for (const old of heard.getTracks()) heard.removeTrack(old)
      heard.addTrack(track)
      // An element takes up a changed stream only when it is given anew, in some browsers.
      if (this.#sound && this.#session === session) this.#sound.element.srcObject = heard
    }
    session.connection.addEventListener('track', ({ track }) => hear(track))
    for (const { track } of session.connection.getReceivers()) hear(track)
    this.#sample = undefined
    this.#mending?.stop()
    this.#mending = mend({
      session,
      connected: this.#deps.connected,
      onMending: mending => {
        const { state } = this.view.get()
        if (state === 'talking' || state === 'mending') this.view.set({ state: mending ? 'mending' : 'talking' })
      },
      onLost: () => {
        if (this.#session !== session) return
        if (!session.isEnded()) session.terminate({ status_code: 408, reason_phrase: 'media lost' })
        this.end('connectionLost')
      },
    })
  }

  #progress(session: RTCSession): void {
    if (session.direction === 'outgoing' && this.view.get().since === undefined) this.view.set({ state: 'ringing' })
  }

  #talking(): void {
    const { since, state } = this.view.get()
    if (state === 'ended') return
    this.#dialog = this.#session && dialogOf(this.#session)
    this.view.set({ state: 'talking', since: since ?? Date.now() })
    this.#apply()
  }

  /** The server tells of the recording. */
  #hearNews(body: string): void {
    const { recording, refused } = readNews(body)
    if (recording === undefined) return
    this.view.set({ recorded: recording })
    this.#onNews(refused === undefined)
  }

  /** The server takes the call's media over: all but the connection stays as it is. */
  #giveWay(event: ReferEvent): void {
    const { state, held } = this.view.get()
    if (this.#stream === undefined || held || (state !== 'talking' && state !== 'mending')) return event.reject()
    beReplaced(event, this.#stream, (session, offer) => {
      if (this.ended) return void session.terminate()
      this.attach(session)
      this.taken()
      if (offer !== undefined) this.#readSdp(offer)
    })
  }

  #readSdp({ originator, sdp }: { originator: string; sdp: string }): void {
    if (originator !== 'remote') return
    const directions = sdp
      .split(/^m=/m)
      .slice(1)
      .map(part => /^a=(sendrecv|sendonly|recvonly|inactive)/m.exec(part)?.[1])
    this.view.set({
      // Only a server is ICE-lite (RFC 8445 section 2.5).
      path: /^a=ice-lite/m.test(sdp) ? 'server' : 'direct',
      heldByPeer: directions.length > 0 && directions.every(one => one === 'sendonly' || one === 'inactive'),
    })
  }

  /** Who was called may be a meeting, or has become one since (docs/meetings.md, Joining). */
  #lookForMeeting(message: IncomingRequest | IncomingResponse | undefined): void {
    const told = message?.getHeader('Vaartha-Meeting')
    if (message === undefined || told === undefined) return
    const contact = (message.parseHeader('contact') as { uri?: { user?: string; host: string } } | undefined)?.uri
    if (contact?.user === undefined) return
    const [, domain] = this.#uri.split('@')
    this.#deps.onMeeting(this, told, `sip:${contact.user}@${domain}`)
  }

  #gone({ originator, cause, message }: EndEvent): void {
    const before = this.view.get()
    const status = (message as { status_code?: number } | null)?.status_code
    const broken = originator !== 'remote' && ['Connection Error', 'Request Timeout', 'Internal Error'].includes(cause)
    if (broken && !this.#byUser && before.since !== undefined) return void this.#reattach()
    this.end(whyEnded(cause, status, before))
  }

  /** The dialog is gone on this side; the server still has it for a while. */
  async #reattach(): Promise<void> {
    const saved = this.save()
    if (saved === undefined || this.#stream === undefined) return this.end('connectionLost')
    this.view.set({ state: 'mending', held: false })
    const session = await this.#deps.reattach(saved, this.#stream)
    if (this.ended) return void session?.terminate()
    if (session === undefined) return this.end('connectionLost')
    this.attach(session)
    this.taken()
  }

  #apply(): void {
    const { muted, held } = this.view.get()
    for (const track of this.#stream?.getAudioTracks() ?? []) track.enabled = !muted && !held
    if (this.#sound) this.#sound.element.muted = held
  }

  async #changeMicrophone(): Promise<void> {
    const sender = this.#session?.connection.getSenders().find(one => one.track?.kind === 'audio')
    if (sender === undefined || this.#stream === undefined) return
    const fresh = await this.#deps.devices.microphone()
    for (const track of this.#stream.getTracks()) track.stop()
    this.#stream = fresh
    this.#apply()
    await sender.replaceTrack(fresh.getAudioTracks()[0] ?? null)
  }

  async #measure(): Promise<void> {
    const { state, held, heldByPeer } = this.view.get()
    const connection = this.#session?.connection
    if (connection === undefined || state !== 'talking') return
    const report = await connection.getStats()
    const now = sampleOf(report.values(), Date.now() / 1000)
    const quality = judge(this.#sample, now, !held && !heldByPeer)
    this.#sample = now
    if (!this.ended && quality !== this.view.get().quality) this.view.set({ quality })
  }
}
