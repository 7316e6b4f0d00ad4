import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { types } from 'mediasoup'
import * as ortc from 'mediasoup/ortc'
import { parse } from '../../src/media/sdp/description.ts'
import type { OurTransport } from '../../src/media/sdp/ours.ts'
import { routerCodecs } from '../../src/media/sdp/router.ts'
import { readWebRtc, type WebRtcSession } from '../../src/media/sdp/webrtc.ts'

const directory = join(import.meta.dirname, '../data/sdp')

export const text = (name: string) => readFileSync(join(directory, `${name}.sdp`), 'utf8')
export const read = (name: string): WebRtcSession => readWebRtc(parse(text(name)))

export const browsers = ['chromium-audio', 'chromium-video', 'chromium-simulcast', 'chromium-restart', 'jssip-audio',
  'jssip-video', 'sipjs-audio', 'firefox-simulcast', 'safari-video'] // biome-ignore format: a list

export const phones = ['baresip-rtp', 'baresip-sdes', 'phone-two-lines', 'phone-old-hold', 'phone-ipv6']

export const router: types.RtpCapabilities = ortc.generateRouterRtpCapabilities(routerCodecs)

/** As a WebRtcTransport gives it; the number makes it another one. */
export function ourTransport(number = 0): OurTransport {
  return {
    ice: { usernameFragment: `ufrag${number}`, password: `password-of-transport-${number}`, iceLite: true },
    candidates: [
      {
        foundation: 'udpcandidate',
        priority: 1076302079,
        ip: '192.0.2.1',
        address: '192.0.2.1',
        protocol: 'udp',
        port: 40000 + number,
        type: 'host',
      },
      {
        foundation: 'tcpcandidate',
        priority: 1076276479,
        ip: '192.0.2.1',
        address: '192.0.2.1',
        protocol: 'tcp',
        port: 40000 + number,
        type: 'host',
        tcpType: 'passive',
      },
    ],
    dtls: { role: 'auto', fingerprints: [{ algorithm: 'sha-256', value: Array(32).fill('AB').join(':') }] },
  }
}
