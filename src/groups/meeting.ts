import { reasonHeader } from '../calls/headers.ts'
import type { LocalDialog } from '../calls/local.ts'
import { type Tape, Taping } from '../calls/taping.ts'
import { Refusal } from '../errors.ts'
import type { Facts } from '../events.ts'
import type { Logger } from '../log.ts'
import type { LegEvent, Prompt } from '../media/media.ts'
import { Entrance } from './entrance.ts'
import { guarded } from './guarded.ts'
import type { MeetingAddress, MeetingDeps } from './meeting-deps.ts'
import { rosterOf } from './meeting-view.ts'
import { Shape } from './mesh.ts'
import { goOnAs, Participant } from './participant.ts'
import type { Person } from './person.ts'
import { Rings } from './rings.ts'
import { MeetingRoom } from './room.ts'
import type { MeetingSnapshot, MemberSnapshot } from './snapshot.ts'
import { Tones } from './tones.ts'

/** One meeting: its participants, its room, its shape and its roster. */
export class Meeting {
  readonly id: string
  readonly address: MeetingAddress
  readonly log: Logger
  readonly shape: Shape
  /** When it began, in ms since 1970. */
  readonly began: number
  locked = false
  ended = false
  /** Member id of the loudest. */
  speaker: number | undefined
  readonly #deps: MeetingDeps<Meeting>
  readonly #tones: Tones
  readonly #taping = new Taping()
  readonly #people = new Map<number, Participant>()
  readonly #entrance: Entrance
  readonly #rings = new Rings()
  /** AORs of all who were ever in. */
  readonly #were = new Set<string>()
  readonly #room: MeetingRoom
  #peak = 0

  /** With `was` it goes on from another node. */
  constructor(deps: MeetingDeps<Meeting>, id: string, address: MeetingAddress, was?: MeetingSnapshot) {
    this.#deps = deps
    this.id = id
    this.address = address
    this.began = was?.began ?? deps.now()
    this.locked = was?.locked ?? false
    this.#entrance = new Entrance(was?.lastId)
    this.#peak = was?.peak ?? 0
    for (const aor of was?.were ?? []) this.#were.add(aor)
    this.log = deps.log.child({ meeting: id, address: address.user })
    this.#tones = new Tones(deps.media, this.log)
    this.#room = new MeetingRoom(deps.media, id, leg => this.#onSpeaker(leg))
    this.shape = new Shape({
      limits: () => ({ ...deps.limits, serverNeeded: this.recording }),
      publish: () => this.#show('now'),
      flow: async (id, on) => (await this.#people.get(id)?.flow(on, leg => deps.media.streams(leg))) ?? false,
      changed: change => {
        deps.events.emit('topologyChanged', { meeting: id, ...change })
        this.log.info(change, 'topology changed')
      },
      failed: error => this.log.error({ err: error }, 'changing the topology failed'),
    })
    if (was) this.shape.goOn(was.shape)
    else deps.events.emit('groupStarted', { group: this.uri, meeting: id })
    this.log.info(was === undefined ? 'meeting started' : 'meeting goes on from another node')
  }

  get uri(): string {
    return `sip:${this.address.user}@${this.#deps.domain}`
  }

  get adHoc(): boolean {
    return this.address.group === undefined
  }

  get most(): number {
    return this.address.group?.most ?? this.#deps.limits.most
  }

  get people(): Participant[] {
    return [...this.#people.values()]
  }

  get ringing(): Person[] {
    return this.#rings.people
  }

  get recording(): boolean {
    return this.#taping.on
  }

  member(id: number): Participant | undefined {
    return this.#people.get(id)
  }

  /** Whether somebody is in, or has been answered and is about to be; who has to type a PIN is in after that. */
  has(user: string): boolean {
    const comes = this.#entrance.has(user)
    return (comes && !this.address.group?.pin) || this.people.some(one => one.person.user === user)
  }

  byDialog(dialog: LocalDialog): Participant | undefined {
    return this.people.find(one => one.dialog === dialog)
  }

  /** The member id of who is about to come. Throws Refusal: `busy-here` when it is full, `forbidden` when it is locked. */
  reserve(person: Person, rung = false): number {
    if (this.locked && !person.moderator) throw new Refusal('forbidden', 'the meeting is locked')
    if (this.#people.size + this.#entrance.size >= this.most) throw new Refusal('busy-here', 'the meeting is full')
    return this.#entrance.reserve(person.user, rung)
  }

  /** Who was to come is in, or does not come. */
  arrived(id: number): void {
    this.#entrance.leave(id)
    this.lookEmpty()
  }

  /** Tells the owner when nobody is left: rings go on only for somebody who waits. */
  lookEmpty(): void {
    if (!this.ended && this.#people.size === 0 && !this.#entrance.waits) this.#deps.onEmpty(this)
  }

  /** Puts a dialog into the meeting as the member whose id was reserved. */
  async join(id: number, person: Person, dialog: LocalDialog, joining: 'dialed-in' | 'dialed-out'): Promise<void> {
    const one = new Participant(id, person, joining, dialog, this.#deps.now())
    // What the client asks meanwhile waits.
    const entered = this.#enter(one)
    one.ready = entered.catch(() => undefined)
    this.#deps.onDialog(this, one)
    await entered
    if (dialog.ended || this.ended) return dialog.bye(reasonHeader(200, 'The meeting is over'))
    this.#count(one)
    this.shape.add(id, { mesh: one.mesh, plain: one.profile === 'plain' })
    this.#deps.keep(this, one)
    this.#changed('joined', person.user)
    this.log.info({ user: person.user, member: id, profile: one.profile }, 'joined')
    this.#lookWaiting()
    if (this.#people.size > 1) this.#announce('joined')
    if (this.recording) void this.#tones.warn(dialog)
    else if (this.address.group?.record) this.record(person.user)
  }

  #count(one: Participant): void {
    this.#people.set(one.id, one)
    this.#were.add(`sip:${one.person.user}@${this.#deps.domain}`)
    this.#peak = Math.max(this.#peak, this.#people.size)
    this.#listen(one)
  }

  async #enter(one: Participant): Promise<void> {
    const { dialog, person, muted } = one
    try {
      await this.#room.seat(dialog.leg, { name: person.user, muted })
      await one.learnMesh(this.#deps.isGruu)
    } catch (error) {
      // Who hangs up in this moment has no leg any more.
      if (dialog.ended && error instanceof Refusal) return
      await dialog.bye(reasonHeader(503, 'No room'), 'could not join')
      throw error
    }
  }

  /** Gives a member another dialog: its client has come back after a reload, or to this node. */
  async replace(one: Participant, dialog: LocalDialog): Promise<void> {
    const { dialog: before, away } = one
    before.removeAllListeners()
    one.take(dialog)
    this.#deps.onDialog(this, one)
    this.#listen(one)
    try {
      await this.#enter(one)
      if (dialog.ended || this.ended || !this.#people.has(one.id)) return await dialog.bye()
      one.lines = undefined
      // Its pairs are gone with the page: for the shape it is somebody who comes.
      if (!away) this.shape.remove(one.id)
      if (away) this.shape.came(one.id)
      else this.shape.add(one.id, { mesh: one.mesh, plain: one.profile === 'plain' })
      this.#deps.keep(this, one)
      this.#show()
    } finally {
      await before.bye(reasonHeader(200, 'Replaced'), 'replaced')
    }
  }

  /** Takes in a member of another node, whose dialog has no media here yet. */
  takeIn(was: MemberSnapshot, dialog: LocalDialog, id = was.id): Participant {
    const one = goOnAs(id, was, dialog)
    this.#count(one)
    this.#deps.onDialog(this, one)
    this.shape.restore(id, { mesh: one.mesh, plain: one.profile === 'plain' })
    this.#deps.keep(this, one)
    dialog.once('placed', () => void guarded(this.log, this.#seat(one)))
    this.#show()
    return one
  }

  /** The client of such a member has its media here now. */
  async #seat(one: Participant): Promise<void> {
    await this.#enter(one)
    one.lines = undefined
    this.shape.came(one.id)
    this.#deps.keep(this, one)
    this.#show()
  }

  /** All whom another node has left are taken in. */
  goOn(record: boolean): void {
    this.shape.check()
    if (record) this.record('', true)
    this.#deps.keep(this)
    this.lookEmpty()
  }

  /** What another node has to know of it; members are kept by themselves. */
  snapshot(): MeetingSnapshot {
    const { id, began, locked, recording } = this
    const { user, displayName, group } = this.address
    const members = [...this.#people.keys()]
    const common = { id, user, displayName, group, began, locked, recording, members, shape: this.shape.snapshot() }
    return { ...common, lastId: this.#entrance.last, peak: this.#peak, were: [...this.#were] }
  }

  /** It is another node's by now: media is released, and nobody is told. */
  lose(): void {
    if (this.ended) return
    for (const { dialog } of this.#stop()) dialog.lose()
    this.log.warn('the meeting belongs to another node')
    this.#deps.onEnded(this)
    void guarded(this.log, this.#taping.stop())
    void guarded(this.log, this.#room.shut())
  }

  /** Ends one member's dialog. */
  remove(id: number): void {
    const one = this.#people.get(id)
    if (one) void guarded(this.log, one.dialog.bye(reasonHeader(200, 'Removed'), 'removed'))
  }

  async mute(id: number, muted: boolean): Promise<void> {
    const one = this.#people.get(id)
    if (one === undefined || one.muted === muted) return
    one.muted = muted
    this.#deps.keep(this, one)
    if (!one.away) await this.#room.seat(one.dialog.leg, { muted, name: one.person.user })
    this.#changed(muted ? 'muted' : 'unmuted', one.person.user)
    this.playTo(one, muted ? 'muted' : 'unmuted')
    this.#show()
  }

  lock(locked: boolean, by: string): void {
    if (this.locked === locked) return
    this.locked = locked
    this.#changed(locked ? 'locked' : 'unlocked', by)
    this.#show()
  }

  /** Begins to record, after a tone that everybody hears; not where they have heard it on another node. */
  record(by: string, heard = false): void {
    if (this.recording || this.ended) return
    void this.#taping.start(wanted => this.#tape(wanted, heard)).then(error => error && this.#noTape(error))
    this.#changed('recording', by)
    // The server hears the meeting only on the SFU.
    this.shape.check()
    this.#show()
  }

  #noTape(error: unknown): void {
    this.log.error({ err: error }, 'recording failed')
    this.stopRecording()
  }

  stopRecording(): void {
    void guarded(this.log, this.#taping.stop())
    this.shape.check()
    this.#show()
  }

  async #tape(wanted: () => boolean, heard: boolean): Promise<Tape | undefined> {
    const room = await this.#room.open()
    await this.shape.onSfu()
    if (!heard) await this.#tones.playOut({ room }, 'recording')
    return !wanted() ? undefined : this.#deps.record({ room, meeting: this.id, address: this.uri, people: this.#were })
  }

  /** Notes that somebody is being rung; the signal says when not to ring any more. Undefined: that is so already. */
  startRinging(person: Person): AbortSignal | undefined {
    const signal = this.ended ? undefined : this.#rings.add(person)
    if (signal) this.#lookWaiting()
    return signal
  }

  stopRinging(user: string): void {
    if (this.#rings.stop(user)) this.#lookWaiting()
  }

  /** A tone for one member. */
  playTo(one: Participant, prompt: Prompt): void {
    if (!one.away) void this.#tones.play({ leg: one.dialog.leg }, prompt)
  }

  /** Takes a client's word for whether it can send to the others directly. */
  async setMesh(one: Participant, mesh: boolean): Promise<void> {
    await one.setMesh(mesh, this.#deps.isGruu)
    this.shape.setMesh(one.id, one.mesh)
    this.#deps.keep(this, one)
    this.#show()
  }

  /** Ends it for all; resolves when all have been told. */
  async end(why: string): Promise<void> {
    if (this.ended) return
    if (!this.#deps.owns(this.id)) return this.lose()
    const last = this.#stop()
    const seconds = (this.#deps.now() - this.began) / 1000
    this.#deps.events.emit('groupEnded', { meeting: this.id, seconds, most: this.#peak })
    this.log.info({ seconds, most: this.#peak, why }, 'meeting ended')
    this.#show('now')
    this.#deps.onEnded(this)
    await guarded(this.log, this.#taping.stop())
    await Promise.all(last.map(({ dialog }) => dialog.bye(reasonHeader(200, why), why)))
    await guarded(this.log, this.#room.shut())
  }

  /** Gives those who were in. */
  #stop(): Participant[] {
    const last = this.people
    this.ended = true
    this.shape.close()
    this.#rings.clear()
    this.#people.clear()
    this.#tones.wait(undefined)
    return last
  }

  #listen(one: Participant): void {
    const { dialog } = one
    dialog.on('ended', () => this.#leave(one))
    dialog.on('changed', streams => {
      if (!one.negotiated(streams)) return
      this.shape.noteFlowing(one.id)
      this.#deps.keep(this, one)
      this.#show()
    })
    dialog.on('renewed', () => this.#deps.keep(this, one))
    dialog.on('media', event => this.#onMedia(one, event))
  }

  #onMedia(one: Participant, event: LegEvent): void {
    if (event.type !== 'tile' && event.type !== 'slot') return
    const shown = event.leg === undefined ? undefined : this.people.find(other => other.dialog.leg === event.leg)
    void one.show(event.type, event.mid, shown?.id ?? null)
  }

  #leave(one: Participant): void {
    if (!this.#people.delete(one.id)) return
    this.log.info({ user: one.person.user, member: one.id }, 'left')
    if (this.speaker === one.id) this.speaker = undefined
    this.shape.remove(one.id)
    this.#changed('left', one.person.user)
    this.#lookWaiting()
    if (this.#people.size === 0) return this.lookEmpty()
    this.#announce('left')
    if (this.#people.size === 1 && this.#rings.size === 0) this.playTo(this.people[0]!, 'alone')
  }

  /** Shows who is in or rung. Who is alone while others are rung hears that they are, and in the end that nobody came. */
  #lookWaiting(): void {
    this.#show()
    const only = this.#people.size === 1 ? this.people[0] : undefined
    const waited = this.#tones.wait(this.#rings.size > 0 && !only?.away ? only?.dialog.leg : undefined)
    if (waited && only) this.playTo(only, 'alone')
  }

  #announce(prompt: Prompt): void {
    if (this.address.group?.announce === false) return
    const played = this.#room.opened?.then(room => this.#tones.play({ room }, prompt))
    void guarded(this.log, played)
  }

  #onSpeaker(leg: string | undefined): void {
    const one = leg === undefined ? undefined : this.people.find(({ dialog }) => dialog.leg === leg)
    if (this.speaker === one?.id) return
    this.speaker = one?.id
    if (one) this.#changed('speaker', one.person.user)
    this.#show('speaker')
  }

  #changed(change: Facts['groupChanged']['change'], who: string): void {
    this.#deps.events.emit('groupChanged', { meeting: this.id, change, who, members: this.#people.size })
  }

  #show(urgency?: 'now' | 'speaker'): void {
    if (urgency !== 'speaker') this.#deps.keep(this)
    this.#deps.board.show(() => rosterOf(this, this.#deps.domain, leg => this.#deps.media.streams(leg)), urgency)
  }
}
