import type { types } from 'mediasoup'
import { Refusal } from '../../errors.ts'
import type { Logger } from '../../log.ts'
import type { OurTransport } from '../sdp/ours.ts'
import type { RemoteTransport } from '../sdp/webrtc.ts'
import type { Place } from './place.ts'

// Browsers ask for consent to send every four to six seconds (RFC 7675 section 5.1): this is two questions in vain.
const consentSeconds = 12
const firstBitrate = 1_000_000

export interface WireEvents {
  /** ICE found a way, or found it again. */
  onConnected(): void
  /** The party's consent has run out; it may come back. */
  onSilent(): void
  onFailed(why: string): void
}

/** One BUNDLE group of a browser: ICE and DTLS on the worker's WebRtcServer. */
export interface Wire {
  readonly transport: types.WebRtcTransport
  /** What our descriptions say of it now. */
  ours(): OurTransport
  /** Gives it the party's half; a party with another certificate needs another wire. */
  connect(remote: RemoteTransport): Promise<void>
  /** True when the party that is connected would not be recognised by this description. */
  isStranger(remote: RemoteTransport): boolean
  close(): void
}

export async function openWire(place: Place, log: Logger, events: WireEvents): Promise<Wire> {
  const transport = await place.router.createWebRtcTransport({
    webRtcServer: place.worker.webRtcServer,
    enableUdp: true,
    enableTcp: true,
    preferUdp: true,
    initialAvailableOutgoingBitrate: firstBitrate,
    iceConsentTimeout: consentSeconds,
  })
  let connected: RemoteTransport | undefined

  transport.on('icestatechange', state => {
    log.debug({ state }, 'ICE')
    if (state === 'connected' || state === 'completed') events.onConnected()
    if (state === 'disconnected') events.onSilent()
  })
  transport.on('dtlsstatechange', state => {
    log.debug({ state }, 'DTLS')
    if (state === 'failed') events.onFailed('DTLS failed')
    if (state === 'closed') events.onSilent()
  })

  return {
    transport,
    ours: () => ({ ice: transport.iceParameters, candidates: transport.iceCandidates, dtls: transport.dtlsParameters }),
    async connect(remote) {
      if (connected !== undefined) return
      connected = remote
      const { role, fingerprints } = remote.dtls
      try {
        await transport.connect({ dtlsParameters: { role, fingerprints: fingerprints.map(one => ({ ...one })) } })
      } catch (cause) {
        connected = undefined
        if (transport.closed) throw cause
        throw new Refusal('not-acceptable-here', 'The DTLS parameters cannot be used', { cause })
      }
    },
    isStranger: remote => connected !== undefined && printsOf(connected) !== printsOf(remote),
    close() {
      transport.removeAllListeners('icestatechange')
      transport.removeAllListeners('dtlsstatechange')
      transport.close()
    },
  }
}

function printsOf({ dtls }: RemoteTransport): string {
  return dtls.fingerprints
    .map(({ algorithm, value }) => `${algorithm} ${value}`)
    .sort()
    .join()
}
