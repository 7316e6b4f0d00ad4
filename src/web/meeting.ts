import type { EndEvent, IncomingInfoEvent, OutgoingEvent, OutgoingInfoEvent, RTCSession } from 'jssip/lib/RTCSession'
import type { IncomingRequest, IncomingResponse } from 'jssip/lib/SIPMessage'
import { addLines, FocusMedia, focusOptions } from './focus-media.ts'
import { type DialogId, dialogOf, follow, pause, reoffer } from './jssip.ts'
import {
  firstView,
  infoType,
  type MeetingDeps,
  type MeetingView,
  memberOf,
  playsPairs,
  type SavedMeeting,
  tilesOf,
  wantsRejoin,
  whyNot,
} from './meeting-view.ts'
import { type Mending, mend } from './mend.ts'
import { Mesh } from './mesh.ts'
import { openPicture, type Showing, stopAll } from './picture.ts'
import type { Roster } from './roster.ts'
import { picturesOf, speakersOf } from './stage.ts'
import { createStore, type Store, until } from './store.ts'
import { followRoster } from './subscription.ts'
import type { Key } from './texts/texts.ts'

const levelMs = 300
// How long voices through the focus are waited for: where nobody speaks none come.
const arriveMs = 1000
const settleMs = 800
// The focus ends the dialog that was replaced; it may have forgotten it.
const partMs = 3000

/**
 * A meeting: one dialog with its focus, and in a mesh a direct connection with each of the others beside it
 * (docs/meetings.md). What is played changes from one to the other when the focus says that all are ready.
 */
export class Meeting {
  readonly view: Store<MeetingView>
  /** `sip:family@domain`; that of an ad-hoc meeting is known when it has answered. */
  address: string
  readonly #deps: MeetingDeps
  readonly #mesh: Mesh
  readonly #focus: FocusMedia
  #session: RTCSession | undefined
  #microphone: MediaStream | undefined
  #picture: MediaStream | undefined
  #roster: { renew(): void; close(): void } | undefined
  #mending: Mending | undefined
  // Kept apart: a session that has failed knows its dialog no more.
  #dialog: DialogId | undefined
  #reported = 0
  #narrow = false
  #byUser = false
  readonly #timer: ReturnType<typeof setInterval>
  readonly #unfollow: () => void

  constructor(deps: MeetingDeps, view: { id: string; name: string; address: string; incoming?: boolean }) {
    this.#deps = deps
    this.address = view.address
    this.view = createStore<MeetingView>(firstView(view))
    this.#focus = new FocusMedia(deps.devices)
    this.#mesh = new Mesh({
      devices: deps.devices,
      sip: deps.sip,
      microphone: () => this.#microphone?.getAudioTracks()[0],
      camera: () => this.#picture?.getVideoTracks()[0] ?? null,
      report: report => this.#tell(report),
      onChange: () => this.#show(),
    })
    this.#timer = setInterval(() => this.#listen(), levelMs)
    this.#unfollow = deps.devices.onChosen(kind => {
      if (kind === 'audioinput') void this.#changeMicrophone()
      if (kind === 'videoinput' && this.view.get().showing === 'camera') void this.display('camera')
    })
  }

  get id(): string {
    return this.view.get().id
  }

  get ended(): boolean {
    return this.view.get().state === 'ended'
  }

  get session(): RTCSession | undefined {
    return this.#session
  }

  /** Calls the meeting; resolves when it is in, or over. */
  async join(): Promise<boolean> {
    if (!(await this.#openMicrophone())) return false
    const line = this.#deps.sip()
    if (line === undefined || this.ended) {
      this.end('failed')
      return false
    }
    this.#attach(line.call(this.address, focusOptions(this.#microphone)))
    const { state } = await until(this.view, ({ state }) => state === 'talking' || state === 'ended')
    return state === 'talking'
  }

  /** Goes on after a reload, as the same member. */
  async resume(saved: SavedMeeting): Promise<void> {
    this.view.set({ state: 'mending', since: saved.since, muted: saved.muted })
    if (!(await this.#openMicrophone())) return
    const session = await this.#deps.reattach(saved, focusOptions(this.#microphone))
    if (session === undefined) return this.end('connectionLost')
    this.#attach(session)
    this.#entered(session)
  }

  /** The meeting calls: it rings here until `answer`. */
  ring(session: RTCSession): void {
    this.#attach(session)
  }

  async answer(): Promise<void> {
    const session = this.#session
    if (session === undefined || this.view.get().state !== 'incoming' || !(await this.#openMicrophone())) return
    session.answer({
      mediaStream: this.#microphone?.clone() as MediaStream,
      pcConfig: { iceServers: [] },
      extraHeaders: ['Vaartha-Mesh: 1'],
    })
    this.#narrow = true
  }

  /** Goes on with what was a call: its other end has become this meeting. `told` is its Vaartha-Meeting. */
  adopt(session: RTCSession, stream: MediaStream, told: string, since: number): void {
    this.#microphone = stream
    this.view.set({ since, self: memberOf(told), state: 'talking' })
    this.#narrow = true
    this.#attach(session)
    this.#entered(session)
  }

  leave(): void {
    this.#byUser = true
    const session = this.#session
    const declines = this.view.get().state === 'incoming'
    if (session !== undefined && !session.isEnded()) session.terminate(declines ? { status_code: 486 } : {})
    this.end('endedByYou')
  }

  mute(muted: boolean): void {
    this.view.set({ muted })
    this.#apply()
    const { self } = this.view.get()
    if (self !== 0) this.do({ do: muted ? 'mute' : 'unmute', member: self })
  }

  /** Shows the camera, the screen or nothing; false when the browser gives it not. */
  async display(what: Showing): Promise<boolean> {
    const fresh = await openPicture(
      this.#deps.devices,
      what,
      () => this.#picture === fresh && void this.display('nothing'),
    )
    if (fresh === 'refused') return false
    if (this.ended) {
      stopAll(fresh)
      return false
    }
    stopAll(this.#picture)
    this.#picture = fresh
    this.view.set({ showing: what })
    this.#show()
    await this.#mesh.renew('video')
    await this.#offerPicture()
    return true
  }

  /** Something for the focus to do: `{do: 'mute', member: 3}` … */
  do(wish: { do: string; member?: number; user?: string }): void {
    this.#tell(wish)
  }

  /** Takes a pair call of this meeting; false when it is none. */
  takePair(session: RTCSession, header: string): boolean {
    return !this.ended && this.#mesh.take(session, header)
  }

  networkChanged(): void {
    if (this.view.get().state === 'talking') this.#mending?.restart()
  }

  /** `moved`: to another server, where the focus has no connection with this page yet. */
  reconnected(moved: boolean): void {
    this.#roster?.renew()
    if (!this.#session?.isEstablished()) return
    if (moved) void this.#rejoin()
    else this.#mending?.restart()
  }

  save(): SavedMeeting | undefined {
    const { name, since, muted, state } = this.view.get()
    const dialog = this.#dialog
    if (dialog === undefined || since === undefined || state === 'ended') return undefined
    return { meeting: true, dialog, address: this.address, name, since, muted, at: Date.now() }
  }

  end(why: Key): void {
    if (this.ended) return
    clearInterval(this.#timer)
    this.#unfollow()
    this.#roster?.close()
    this.#mesh.close()
    this.#focus.stop()
    stopAll(this.#microphone)
    stopAll(this.#picture)
    this.view.set({ state: 'ended', why, pictures: new Map(), showing: 'nothing' })
    this.#deps.onEnded(this)
  }

  async #openMicrophone(): Promise<boolean> {
    try {
      this.#microphone = await this.#deps.devices.microphone()
      return true
    } catch {
      this.end('noMicrophone')
      return false
    }
  }

  /** It was called as a phone is. What a browser can do besides is asked for when it is in: before, the focus offers too. */
  async #widen(session: RTCSession): Promise<void> {
    this.#narrow = false
    addLines(session.connection)
    await reoffer(session)
    this.#tell({ mesh: true })
  }

  #attach(session: RTCSession): void {
    this.#session = session
    follow(session, () => this.#session === session && !this.ended, {
      peerconnection: () => this.#follow(session),
      accepted: (event: object) => this.#entered(session, (event as Partial<OutgoingEvent>).response),
      newInfo: (event: IncomingInfoEvent | OutgoingInfoEvent) => this.#hear(event),
      unhold: () => this.#apply(),
      ended: event => this.#gone(event),
      failed: event => this.#gone(event),
    })
    if (session.connection) this.#follow(session)
  }

  #follow(session: RTCSession): void {
    this.#focus.attach(session.connection, session.isEstablished())
    this.#mending?.stop()
    this.#mending = mend({
      session,
      connected: () => this.#deps.sip()?.connected() ?? false,
      onMending: mending => {
        const { state } = this.view.get()
        if (state === 'talking' || state === 'mending') this.view.set({ state: mending ? 'mending' : 'talking' })
      },
      onLost: () => {
        if (!session.isEnded()) session.terminate({ status_code: 408, reason_phrase: 'media lost' })
        this.end('connectionLost')
      },
    })
  }

  /** In: the answer, or the INVITE of the focus, tells the meeting and one's own number in it. */
  #entered(session: RTCSession, response?: IncomingResponse): void {
    const { since } = this.view.get()
    const invite = (session as unknown as { _request?: IncomingRequest })._request
    const told = response ?? (session.direction === 'incoming' ? invite : undefined)
    const self = memberOf(told?.getHeader('Vaartha-Meeting')) || this.view.get().self
    const contact = (response?.parseHeader('contact') as { uri?: { user?: string } } | undefined)?.uri
    // The factory's own address is no meeting; the one that it has made is in the Contact (RFC 4579 section 5.4).
    const made = session.direction === 'outgoing' ? contact?.user : undefined
    if (made) this.address = this.address.replace(/^sip:[^@]*/, `sip:${made}`)
    this.#dialog = dialogOf(session)
    this.view.set({ state: 'talking', since: since ?? Date.now(), self })
    this.#apply()
    this.#roster ??= followRoster({
      sip: this.#deps.sip,
      address: this.address,
      onRoster: roster => this.#onRoster(roster),
    })
  }

  #onRoster(roster: Roster): void {
    const entity = this.#deps.sip()?.ua.contact.pub_gruu?.replace(/^"|"$/g, '')
    const self = this.view.get().self || (roster.members.find(one => one.entity === entity)?.id ?? 0)
    const own = roster.members.find(one => one.id === self)
    if (own !== undefined && this.#narrow && this.#session) void this.#widen(this.#session)
    this.view.set({ roster, self, ...(roster.title === '' ? {} : { name: roster.title }) })
    if (own !== undefined && own.muted !== this.view.get().muted) {
      this.view.set({ muted: own.muted })
      this.#apply()
    }
    this.#mesh.follow(roster, self)
    void this.#choosePath()
    this.#show()
    void this.#tellReady(roster)
  }

  /** Plays the one or the other, from one moment to the next, when the focus has settled it. */
  async #choosePath(): Promise<void> {
    const wantsPairs = () => playsPairs(this.view.get(), this.#mesh.playing)
    // What is told as settled may be some packets away from this very ear; the pairs go on for longer than that.
    if (this.#mesh.playing && !wantsPairs()) await this.#focus.arrives(settleMs, () => !this.ended && !wantsPairs())
    if (this.ended) return
    const pairs = wantsPairs()
    const { members } = this.view.get().roster
    this.#mesh.play(pairs, member => members.find(one => one.id === member)?.muted === true)
    this.#focus.play(!pairs)
    this.#show()
  }

  /** On the way to the SFU: tells when its leg carries again. */
  async #tellReady({ shape, preparing, epoch }: Roster): Promise<void> {
    if (shape !== 'sfu' || !preparing || this.#reported === epoch) return
    this.#reported = epoch
    const still = () => !this.ended && this.view.get().roster.epoch === epoch && this.view.get().roster.preparing
    while (still() && !this.#focus.flows()) await pause(50)
    if (!still()) return
    await this.#focus.arrives(arriveMs, still)
    if (still()) this.#tell({ epoch, ready: true })
  }

  #hear(event: IncomingInfoEvent | OutgoingInfoEvent): void {
    if (wantsRejoin(event)) return void this.#rejoin()
    this.#focus.tell(tilesOf(event))
    this.#show()
  }

  #show(): void {
    if (this.ended) return
    const { roster, self } = this.view.get()
    this.view.set({ pictures: picturesOf(this.#mesh, this.#focus, roster, { id: self, picture: this.#picture }) })
  }

  #listen(): void {
    const { roster, self, speaking, state } = this.view.get()
    const now = state === 'talking' ? speakersOf(this.#mesh, roster, self) : speaking
    if (now.size !== speaking.size || [...now].some(id => !speaking.has(id))) this.view.set({ speaking: now })
  }

  #apply(): void {
    const { muted } = this.view.get()
    this.#focus.mute(muted)
    this.#mesh.mute(muted)
  }

  async #changeMicrophone(): Promise<void> {
    if (this.#microphone === undefined) return
    const fresh = await this.#deps.devices.microphone()
    stopAll(this.#microphone)
    this.#microphone = fresh
    await this.#focus.renewMicrophone(fresh.getAudioTracks()[0]?.clone())
    await this.#mesh.renew('audio')
    this.#apply()
  }

  async #offerPicture(): Promise<void> {
    const session = this.#session
    const changed = await this.#focus.sendPicture(this.#picture?.getVideoTracks()[0])
    if (changed && session !== undefined && !session.isEnded()) await reoffer(session)
  }

  #tell(message: object): void {
    const session = this.#session
    // JsSIP gives up a call that it cannot send to.
    if (session?.isEstablished() && this.#deps.sip()?.connected()) session.sendInfo(infoType, JSON.stringify(message))
  }

  #gone({ originator, cause, message }: EndEvent): void {
    const { since } = this.view.get()
    const status = (message as { status_code?: number } | null)?.status_code
    const broken = (originator as string) !== 'remote' && ['Connection Error', 'Request Timeout'].includes(cause)
    if (broken && !this.#byUser && since !== undefined) return void this.#reattach()
    this.end(since !== undefined ? 'ended' : whyNot(status))
  }

  /** The focus lives on another node now: a new dialog in place of the old one; pairs go on. */
  async #rejoin(): Promise<void> {
    const old = this.#session
    if (old === undefined || this.#dialog === undefined || this.ended) return
    this.#session = undefined
    this.#mending?.stop()
    await this.#reattach()
    setTimeout(() => {
      if (!old.isEnded()) old.terminate()
    }, partMs)
  }

  async #reattach(): Promise<void> {
    const saved = this.save()
    if (saved === undefined) return this.end('connectionLost')
    this.view.set({ state: 'mending' })
    const session = await this.#deps.reattach(saved, focusOptions(this.#microphone))
    if (this.ended) return void session?.terminate()
    if (session === undefined) return this.end('connectionLost')
    this.#attach(session)
    this.#entered(session)
    await this.#offerPicture()
  }
}
