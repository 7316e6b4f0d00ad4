import type { CallOptions } from 'jssip/lib/UA'
import type { Devices } from './devices.ts'
import { pause } from './jssip.ts'
import { mayRenumber, renumber } from './numbers.ts'

// The first audio line hears the loudest, the others who speaks beside; tiles show so many at once.
const slots = 5
const tiles = 8
// Three layers, from a thumbnail up, so that the SFU can give each what it shows.
const layers: RTCRtpEncodingParameters[] = [
  { rid: 'q', scaleResolutionDownBy: 4, maxBitrate: 120_000 },
  { rid: 'h', scaleResolutionDownBy: 2, maxBitrate: 400_000 },
  { rid: 'f', maxBitrate: 1_400_000 },
]

/** What goes through the focus: voices that are played, tiles that are shown, and one picture that is sent. */
export class FocusMedia {
  readonly #devices: Devices
  #connection: RTCPeerConnection | undefined
  #sounds: { element: HTMLAudioElement; stop(): void; mid: string | null }[] = []
  #tileOf = new Map<string, number>()
  #streams = new Map<string, MediaStream>()
  #playing = true

  constructor(devices: Devices) {
    this.#devices = devices
  }

  /** Takes up a connection in place of the one before; `there`: its lines have been negotiated already. */
  attach(connection: RTCPeerConnection, there: boolean): void {
    this.stop()
    this.#connection = connection
    const take = (line: RTCRtpTransceiver) => {
      if (this.#connection === connection && line.receiver.track.kind === 'audio') this.#playSlot(line)
    }
    connection.addEventListener('track', ({ transceiver }) => take(transceiver))
    if (there) for (const line of connection.getTransceivers()) take(line)
  }

  play(on: boolean): void {
    this.#playing = on
    for (const sound of this.#sounds) sound.element.muted = !on
  }

  /** Takes up whom the video lines show, by `a=mid`; null is nobody. */
  tell(shown: Readonly<Record<string, number | null>>): void {
    for (const [mid, member] of Object.entries(shown)) {
      if (member === null) this.#tileOf.delete(mid)
      else this.#tileOf.set(mid, member)
    }
  }

  /** What members show, by their id. */
  pictures(): Map<number, MediaStream> {
    const pictures = new Map<number, MediaStream>()
    for (const [mid, member] of this.#tileOf) {
      const stream = this.#tile(mid)
      if (stream) pictures.set(member, stream)
    }
    return pictures
  }

  /** Whether this leg carries what is said. */
  flows(): boolean {
    const connection = this.#connection
    const line = connection?.getTransceivers().find(one => one.receiver.track.kind === 'audio')
    return (
      line?.currentDirection === 'sendrecv' &&
      connection?.connectionState === 'connected' &&
      connection.signalingState === 'stable'
    )
  }

  /** Resolves when voices come in, after `ms` at the latest, or when it is not waited for any more. */
  async arrives(ms: number, still: () => boolean): Promise<void> {
    const first = await this.#packets()
    for (const until = Date.now() + ms; Date.now() < until && still(); ) {
      await pause(60)
      if ((await this.#packets()) > first) return
    }
  }

  mute(muted: boolean): void {
    const track = this.#microphone()?.track
    if (track) track.enabled = !muted
  }

  async renewMicrophone(track: MediaStreamTrack | undefined): Promise<void> {
    await this.#microphone()?.replaceTrack(track ?? null)
  }

  /**
   * Sends a picture, or none; true when that has to be offered to the focus. The line is made when it is first needed
   * and rests while nothing is shown.
   */
  async sendPicture(track: MediaStreamTrack | undefined): Promise<boolean> {
    const connection = this.#connection
    const line = connection?.getTransceivers().find(isPictureLine)
    if (line === undefined) {
      if (connection === undefined || track === undefined) return false
      preferVideo(connection.addTransceiver(track, { direction: 'sendonly', sendEncodings: layers }))
      return true
    }
    await line.sender.replaceTrack(track ?? null)
    const direction = track === undefined ? 'inactive' : 'sendonly'
    if (line.direction === direction) return false
    line.direction = direction
    return true
  }

  stop(): void {
    for (const sound of this.#sounds.splice(0)) sound.stop()
    this.#tileOf.clear()
    this.#streams.clear()
    this.#connection = undefined
  }

  async #packets(): Promise<number> {
    let packets = 0
    for (const stat of (await this.#connection?.getStats())?.values() ?? [])
      if (stat.type === 'inbound-rtp' && stat.kind === 'audio') packets += stat.packetsReceived ?? 0
    return packets
  }

  #microphone(): RTCRtpSender | undefined {
    return this.#connection?.getSenders().find(one => one.track?.kind === 'audio')
  }

  #playSlot({ mid, receiver }: RTCRtpTransceiver): void {
    if (this.#sounds.some(sound => sound.mid === mid)) return
    const sound = this.#devices.play(new MediaStream([receiver.track]))
    sound.element.muted = !this.#playing
    this.#sounds.push({ ...sound, mid })
  }

  #tile(mid: string): MediaStream | undefined {
    const kept = this.#streams.get(mid)
    if (kept) return kept
    const track = this.#connection?.getTransceivers().find(one => one.mid === mid)?.receiver.track
    if (track === undefined) return undefined
    const made = new MediaStream([track])
    this.#streams.set(mid, made)
    return made
  }
}

/** How a meeting is called, with a copy of the microphone. */
export function focusOptions(microphone: MediaStream | undefined): CallOptions {
  const track = microphone?.getAudioTracks()[0]?.clone()
  return {
    mediaStream: new MediaStream(),
    pcConfig: { iceServers: [] },
    extraHeaders: ['Vaartha-Mesh: 1'],
    eventHandlers: {
      peerconnection: ({ peerconnection }) => {
        if (track) peerconnection.addTransceiver(track, { direction: 'sendrecv' })
        addLines(peerconnection)
      },
    },
  }
}

/** Lines to hear more speakers on, and tiles. */
export function addLines(connection: RTCPeerConnection): void {
  offerServersNumbers(connection)
  for (let n = 1; n < slots; n++) connection.addTransceiver('audio', { direction: 'recvonly' })
  for (let n = 0; n < tiles; n++) preferVideo(connection.addTransceiver('video', { direction: 'recvonly' }))
}

function offerServersNumbers(connection: RTCPeerConnection): void {
  const create = connection.createOffer.bind(connection)
  const createNumbered = async (options?: RTCOfferOptions) => {
    const { type, sdp = '' } = await create(options)
    return { type, sdp: mayRenumber(connection.currentLocalDescription?.sdp) ? renumber(sdp) : sdp }
  }
  connection.createOffer = createNumbered as RTCPeerConnection['createOffer']
}

// Ours is the one that was made to send in layers; tiles never were.
function isPictureLine({ receiver, sender }: RTCRtpTransceiver): boolean {
  return receiver.track.kind === 'video' && sender.getParameters().encodings.length > 1
}

/** One codec: nine lines with all that a browser knows would not fit into one SIP message. */
function preferVideo(transceiver: RTCRtpTransceiver): void {
  const all = RTCRtpReceiver.getCapabilities('video')?.codecs ?? []
  const wanted = all.filter(codec => /^video\/(vp8|rtx)$/i.test(codec.mimeType))
  if (wanted.some(codec => /vp8/i.test(codec.mimeType))) transceiver.setCodecPreferences(wanted)
}
