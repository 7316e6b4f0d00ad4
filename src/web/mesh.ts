import type { RTCSession } from 'jssip/lib/RTCSession'
import type { Devices } from './devices.ts'
import { Pair } from './pair.ts'
import type { Roster } from './roster.ts'
import type { Sip } from './sip.ts'

export interface MeshDeps {
  devices: Devices
  sip(): Sip | undefined
  /** The tracks that are sent now; each pair sends a copy of the microphone of its own. */
  microphone(): MediaStreamTrack | undefined
  camera(): MediaStreamTrack | null
  /** Tells the focus how the pairs stand. */
  report(report: { epoch: number; connected: number[]; failed: number[] }): void
  /** What the pairs show has changed. */
  onChange(): void
}

// How long pairs go on after everybody is on the SFU.
const lingerMs = 1000
// Who has just come may not know of the meeting yet and refuse: it is called again, for so long.
const patienceMs = 8000
const againMs = 400

/** This member's direct connections with the others of a meeting (docs/meetings.md, Shapes). */
export class Mesh {
  readonly #deps: MeshDeps
  readonly #pairs = new Map<number, Pair>()
  readonly #copies = new Map<number, MediaStreamTrack>()
  #roster: Roster | undefined
  #self = 0
  #reported = ''
  #playing = false
  #muted = false
  #isMuted: (member: number) => boolean = () => false
  #linger: ReturnType<typeof setTimeout> | undefined
  /** Since when the pairs of the newest epoch are being built. */
  #since = 0

  constructor(deps: MeshDeps) {
    this.#deps = deps
  }

  /** The way to a member that is connected. */
  pair(member: number): Pair | undefined {
    return this.#pairs.get(member)
  }

  /** Takes up what the focus has told. */
  follow(roster: Roster, self: number): void {
    if (roster.epoch !== this.#roster?.epoch) this.#since = Date.now()
    this.#roster = roster
    this.#self = self
    clearTimeout(this.#linger)
    const { shape, preparing, meshed, members } = roster
    for (const [member, pair] of this.#pairs) if (members.every(one => one.id !== member)) pair.end()
    if (shape === 'sfu') {
      if (!preparing) this.#linger = setTimeout(() => this.#endAll(), lingerMs)
      return
    }
    if (!meshed.includes(self)) return
    if (!preparing) for (const [member, pair] of this.#pairs) if (!meshed.includes(member)) pair.end()
    for (const other of meshed) if (other > self && !this.#pairs.has(other)) this.#call(other)
    this.#report()
  }

  #wants(member: number): boolean {
    const roster = this.#roster
    return roster !== undefined && roster.shape !== 'sfu' && roster.meshed.includes(member)
  }

  /** A pair call that comes in, with its Vaartha-Mesh; false when it does not belong to this mesh. */
  take(session: RTCSession, header: string): boolean {
    const read = (name: string) => Number(new RegExp(`;\\s*${name}=(\\d+)`).exec(header)?.[1] ?? -1)
    const from = read('from')
    if (header.split(';')[0]?.trim() !== this.#roster?.meeting || read('to') !== this.#self) return false
    // After a reload the other calls anew: what was there is dead.
    const before = this.#pairs.get(from)
    this.#pairs.delete(from)
    before?.end()
    const microphone = this.#copy(from)
    if (microphone === undefined) return false
    this.#add(from, session)
    // Between the other's offer and our answer: what we could send is said now, for the camera may come later.
    session.on('connecting', () => {
      for (const one of session.connection.getTransceivers()) one.direction = 'sendrecv'
      const pair = this.#pairs.get(from)
      if (pair) void pair.send('audio', this.#voice(pair))
    })
    session.answer({ mediaStream: new MediaStream([microphone]), pcConfig: { iceServers: [] } })
    session.on('confirmed', () => void this.#pairs.get(from)?.send('video', this.#deps.camera()))
    return true
  }

  /** Plays the pairs, or nothing of them. */
  play(on: boolean, isMuted: (member: number) => boolean): void {
    this.#playing = on
    this.#isMuted = isMuted
    for (const [member, pair] of this.#pairs) pair.play(on && !isMuted(member))
  }

  get playing(): boolean {
    return this.#playing
  }

  mute(muted: boolean): void {
    this.#muted = muted
    for (const track of this.#copies.values()) track.enabled = !muted
    for (const pair of this.#pairs.values()) void pair.send('audio', this.#voice(pair))
  }

  /** Sends the tracks that there are now. */
  async renew(kind: 'audio' | 'video'): Promise<void> {
    for (const [member, pair] of this.#pairs) {
      if (kind === 'video') await pair.send(kind, this.#deps.camera())
      else if (this.#copy(member)) await pair.send(kind, this.#voice(pair))
    }
  }

  close(): void {
    clearTimeout(this.#linger)
    this.#roster = undefined
    this.#endAll()
  }

  #call(member: number): void {
    const { devices: _, sip } = this.#deps
    const other = this.#roster?.members.find(one => one.id === member)
    const microphone = this.#copy(member)
    const line = sip()
    if (other === undefined || microphone === undefined || line === undefined || !line.connected()) return
    const { meeting, epoch } = this.#roster ?? {}
    const session = line.call(other.entity, {
      mediaStream: new MediaStream(),
      pcConfig: { iceServers: [] },
      extraHeaders: [`Vaartha-Mesh: ${meeting};epoch=${epoch};from=${this.#self};to=${member}`],
      eventHandlers: {
        peerconnection: ({ peerconnection }) => {
          peerconnection.addTransceiver(microphone, { direction: 'sendrecv' })
          peerconnection.addTransceiver('video', { direction: 'sendrecv' })
        },
      },
    })
    this.#add(member, session)
    session.on('confirmed', () => void this.#pairs.get(member)?.send('video', this.#deps.camera()))
  }

  #add(member: number, session: RTCSession): void {
    const pair = new Pair({
      member,
      session,
      devices: this.#deps.devices,
      connected: () => this.#deps.sip()?.connected() ?? false,
      isMuted: () => this.#roster?.members.find(one => one.id === member)?.muted ?? false,
      onChange: () => {
        this.#report()
        this.#deps.onChange()
      },
      onGone: gone => this.#gone(gone),
    })
    pair.play(this.#playing && !this.#isMuted(member))
    this.#pairs.set(member, pair)
    void pair.send('audio', this.#voice(pair))
  }

  #gone(pair: Pair): void {
    if (this.#pairs.get(pair.member) !== pair) return
    this.#pairs.delete(pair.member)
    this.#copies.get(pair.member)?.stop()
    this.#copies.delete(pair.member)
    this.#deps.onChange()
    if (!this.#wants(pair.member)) return
    if (pair.state === 'building') this.#again(pair)
    // The other's end is its own wish where it has left; where it has not, the focus must know.
    else if (pair.state === 'failed') this.#report([pair.member])
  }

  /** Calls once more who did not answer yet; who was called leaves that to the caller. */
  #again({ member, session }: Pair): void {
    if (session.direction !== 'outgoing') return
    if (Date.now() - this.#since > patienceMs) return this.#report([member])
    setTimeout(() => {
      if (this.#wants(member) && !this.#pairs.has(member)) this.#call(member)
    }, againMs)
  }

  /** The whole state of this member's pairs, each time it changes. */
  #report(lost: readonly number[] = []): void {
    const roster = this.#roster
    if (roster === undefined || roster.shape === 'sfu') return
    const inState = (state: Pair['state']) => roster.meshed.filter(member => this.#pairs.get(member)?.state === state)
    const report = { epoch: roster.epoch, connected: inState('connected'), failed: [...inState('failed'), ...lost] }
    const text = JSON.stringify(report)
    if (text === this.#reported) return
    this.#reported = text
    this.#deps.report(report)
  }

  /** Who is muted sends nothing: to encode silence takes a processor twice what speech takes, seven times in a mesh of eight. */
  #voice({ member }: Pair): MediaStreamTrack | null {
    return this.#muted ? null : (this.#copies.get(member) ?? null)
  }

  #copy(member: number): MediaStreamTrack | undefined {
    this.#copies.get(member)?.stop()
    const copy = this.#deps.microphone()?.clone()
    if (copy === undefined) return undefined
    copy.enabled = !this.#muted
    this.#copies.set(member, copy)
    return copy
  }

  #endAll(): void {
    for (const pair of [...this.#pairs.values()]) pair.end()
  }
}
