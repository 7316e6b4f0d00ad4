import type { types } from 'mediasoup'
import type { WebRtcLine } from './webrtc.ts'

// How a browser's numbers meet the router's. A mediasoup consumer sends the payload types that its producer was mapped
// to when it was produced, and header extensions under fixed ids, whatever was negotiated. So:
// - audio may be sent on a line that the browser has offered, from a producer that was produced after
//   `router.updateMediaCodecs(dialect(line))` in the same tick: its payload types are then the browser's;
// - video is sent only on lines that we have offered, on a transport (BUNDLE group) of their own: browsers number
//   `sdes:mid` as mediasoup numbers abs-send-time, and drop packets whose MID they do not know.

/** The codecs of every router, numbered as Chrome does. */
export const routerCodecs: types.RouterRtpCodecCapability[] = []

/** `routerCodecs` with the audio payload types of this line, for producers whose consumers send on it. */
export function dialect(line: WebRtcLine): types.RouterRtpCodecCapability[] {
  throw new Error(`not yet: ${line.mid}`)
}

/** Names the dialect: lines with the same name can be fed by the same producers. */
export function dialectName(line: WebRtcLine): string {
  throw new Error(`not yet: ${line.mid}`)
}

/** For `transport.produce`: what the party sends on this line; undefined when it and the router share no codec. */
export function producerParameters(line: WebRtcLine, router: types.RtpCapabilities): types.RtpParameters | undefined {
  throw new Error(`not yet: ${line.mid} ${router.codecs?.length}`)
}

/** For `router.canConsume` and `transport.consume`: what the party can hear and see on this line. */
export function consumerCapabilities(line: WebRtcLine): types.RtpCapabilities {
  throw new Error(`not yet: ${line.mid}`)
}
