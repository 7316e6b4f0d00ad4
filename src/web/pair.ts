import type { RTCSession } from 'jssip/lib/RTCSession'
import type { Devices } from './devices.ts'
import { pause } from './jssip.ts'
import { mend } from './mend.ts'

export type PairState = 'building' | 'connected' | 'failed'

export interface PairDeps {
  member: number
  session: RTCSession
  devices: Devices
  connected(): boolean
  /** Whether the other is muted, and so sends nothing. */
  isMuted(): boolean
  /** Its state, or what it shows, has changed. */
  onChange(pair: Pair): void
  onGone(pair: Pair): void
}

const buildMs = 8000
const lookMs = 250
// A camera that sends nothing for so many looks is off.
const darkLooks = 6
// For each of the others again, so that a mesh of eight fits through an ordinary uplink.
const videoBits = 400_000

/** The direct connection with one other member of a mesh: both send; what comes is played only when it is wanted. */
export class Pair {
  readonly member: number
  readonly session: RTCSession
  state: PairState = 'building'
  /** What the other shows; undefined while its camera is off. */
  picture: MediaStream | undefined
  readonly #deps: PairDeps
  readonly #sound: { element: HTMLAudioElement; stop(): void }
  readonly #timer: ReturnType<typeof setInterval>
  #began = Date.now()
  #mendingSince = 0
  /** When a picture came last, by a clock of the browser's. */
  #pictured = 0
  #dark = 0
  #ended = false

  constructor(deps: PairDeps) {
    this.#deps = deps
    this.member = deps.member
    this.session = deps.session
    const heard = new MediaStream()
    this.#sound = deps.devices.play(heard)
    this.#sound.element.muted = true
    const { session } = deps
    const follow = () => {
      const hear = (track: MediaStreamTrack) => {
        if (track.kind !== 'audio') return
        heard.addTrack(track)
        this.#sound.element.srcObject = heard
      }
      session.connection.addEventListener('track', ({ track }) => hear(track))
      mend({
        session,
        connected: deps.connected,
        onMending: mending => {
          this.#mendingSince = mending ? Date.now() : 0
        },
        onLost: () => this.#fail(),
      })
    }
    if (session.connection) follow()
    else session.on('peerconnection', follow)
    session.on('icecandidate', ({ ready }) => void pause(300).then(ready))
    // The sound has its time from the answer on, whenever that came.
    session.on('confirmed', () => {
      this.#began = Date.now()
    })
    session.on('ended', () => this.#gone())
    session.on('failed', () => this.#gone())
    this.#timer = setInterval(() => this.#look(), lookMs)
  }

  play(on: boolean): void {
    this.#sound.element.muted = !on
  }

  /** How loud the other is, 0..1. */
  level(): number {
    const receiver = this.#receiver('audio')
    return Math.max(0, ...(receiver?.getSynchronizationSources().map(one => one.audioLevel ?? 0) ?? []))
  }

  /** Sends another microphone or camera; `null` sends nothing. */
  async send(kind: 'audio' | 'video', track: MediaStreamTrack | null): Promise<void> {
    const found = this.#transceiver(kind)
    if (found === undefined || found.sender.track === track) return
    await found.sender.replaceTrack(track)
    if (kind === 'video' && track !== null) await limit(found.sender)
  }

  end(): void {
    if (!this.session.isEnded()) this.session.terminate()
    this.#gone()
  }

  #transceiver(kind: 'audio' | 'video'): RTCRtpTransceiver | undefined {
    return this.session.connection?.getTransceivers().find(one => one.receiver.track.kind === kind)
  }

  #receiver(kind: 'audio' | 'video'): RTCRtpReceiver | undefined {
    return this.#transceiver(kind)?.receiver
  }

  #look(): void {
    this.#seePicture()
    if (this.state === 'connected' && this.#mendingSince === 0) return
    if (this.state === 'building' && this.#isThere()) this.#become('connected')
    const since = this.state === 'building' ? this.#began : this.#mendingSince
    if (this.state !== 'failed' && since > 0 && Date.now() - since > buildMs) this.#fail()
    if (this.state === 'failed' && this.#mendingSince === 0 && this.#isThere()) this.#become('connected')
  }

  /** Whether the other's voice has come out of this connection lately, or could, if the other were not muted. */
  #isThere(): boolean {
    if (this.session.connection?.connectionState !== 'connected') return false
    return this.#deps.isMuted() || (this.#receiver('audio')?.getSynchronizationSources().length ?? 0) > 0
  }

  #seePicture(): void {
    const receiver = this.#receiver('video')
    const last = Math.max(0, ...(receiver?.getSynchronizationSources().map(one => one.timestamp) ?? []))
    this.#dark = last > this.#pictured ? 0 : this.#dark + 1
    this.#pictured = Math.max(last, this.#pictured)
    const on = this.#pictured > 0 && this.#dark < darkLooks
    if (on === (this.picture !== undefined)) return
    const track = receiver?.track
    this.picture = on && track ? new MediaStream([track]) : undefined
    this.#deps.onChange(this)
  }

  #become(state: PairState): void {
    this.state = state
    this.#deps.onChange(this)
  }

  #fail(): void {
    if (this.state !== 'failed' && !this.#ended) this.#become('failed')
  }

  #gone(): void {
    if (this.#ended) return
    this.#ended = true
    clearInterval(this.#timer)
    this.#sound.stop()
    this.#deps.onGone(this)
  }
}

async function limit(sender: RTCRtpSender): Promise<void> {
  const parameters = sender.getParameters()
  for (const encoding of parameters.encodings) encoding.maxBitrate = videoBits
  await sender.setParameters(parameters)
}
