import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { TestBrowser, TestPage } from './browser.ts'

// A real browser's RTCPeerConnection without any SIP: descriptions are carried by the test. What comes is played, so that
// the page's ear hears it, and videos are counted.

export interface PeerWish {
  /** recvonly audio lines besides the microphone's. */
  slots?: number
  camera?: boolean
  /** recvonly video lines. */
  tiles?: number
  /** The camera in three sizes. */
  simulcast?: boolean
}

export interface PeerPage extends TestPage {
  /** Its offer; the lines are made by the first one. */
  offer(wish?: PeerWish, options?: { iceRestart?: boolean; munge?: 'mediasoup' | 'numbers' }): Promise<string>
  take(answer: string): Promise<void>
  /** Takes an offer and answers. */
  answer(offer: string, wish?: PeerWish): Promise<string>
  /** Connection states, and frames decoded by mid of the video lines. */
  look(): Promise<PeerState>
  until(test: (state: PeerState) => boolean, what: string, ms?: number): Promise<PeerState>
  press(digits: string): Promise<void>
}

export interface PeerState {
  ice: string
  connection: string
  frames: Record<string, number>
  sizes: Record<string, number>
  /** Packets that came on audio lines, by mid. */
  packets: Record<string, number>
}

const script = `
window.peer = new RTCPeerConnection({ bundlePolicy: 'max-bundle' })
const elements = []
peer.addEventListener('track', ({ track }) => {
  const element = document.createElement(track.kind)
  element.autoplay = true
  element.playsInline = true
  if (track.kind === 'video') element.muted = true
  element.srcObject = new MediaStream([track])
  elements.push(element)
  document.body.append(element)
  void element.play()
})
let lines
async function makeLines({ slots = 0, camera = false, tiles = 0, simulcast = false }) {
  if (lines) return
  lines = true
  const stream = await navigator.mediaDevices.getUserMedia({ audio: true, video: camera && { width: 640, height: 360 } })
  for (const track of stream.getTracks()) {
    const sendEncodings = track.kind === 'video' && simulcast
      ? [{ rid: 'q', scaleResolutionDownBy: 4 }, { rid: 'h', scaleResolutionDownBy: 2 }, { rid: 'f' }] : undefined
    peer.addTransceiver(track, { direction: 'sendrecv', streams: [stream], ...(sendEncodings && { sendEncodings }) })
  }
  for (let i = 0; i < slots; i++) peer.addTransceiver('audio', { direction: 'recvonly' })
  for (let i = 0; i < tiles; i++) peer.addTransceiver('video', { direction: 'recvonly' })
}
window.makeOffer = async (wish, options) => {
  await makeLines(wish)
  const offer = await peer.createOffer({ iceRestart: options.iceRestart ?? false })
  const ids = { 'urn:ietf:params:rtp-hdrext:sdes:mid': 1, 'urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id': 2,
    'urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id': 3, 'http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time': 4,
    'http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01': 5, 'urn:ietf:params:rtp-hdrext:ssrc-audio-level': 6,
    'urn:3gpp:video-orientation': 8, 'urn:ietf:params:rtp-hdrext:toffset': 9 }
  if (options.munge === 'numbers') {
    const lines = /^(m=.*|a=(?:rtpmap|fmtp|rtcp-fb):.*)$/gm
    offer.sdp = offer.sdp.replace(lines, line => line.replace(/\\b111\\b/g, '55').replace(/\\b96\\b/g, '56').replace(/\\b97\\b/g, '57').replace(/\\b110\\b/g, '58'))
  }
  if (options.munge === 'mediasoup') {
    offer.sdp = offer.sdp.split('\\r\\n').flatMap(line => {
      const found = /^a=extmap:\\d+ (\\S+)$/.exec(line)
      return found === null ? [line] : ids[found[1]] ? ['a=extmap:' + ids[found[1]] + ' ' + found[1]] : []
    }).join('\\r\\n')
  }
  await peer.setLocalDescription(offer)
  return offer.sdp
}
window.takeAnswer = sdp => peer.setRemoteDescription({ type: 'answer', sdp })
window.makeAnswer = async (sdp, wish) => {
  await peer.setRemoteDescription({ type: 'offer', sdp })
  if (!lines) {
    lines = true
    const stream = await navigator.mediaDevices.getUserMedia({ audio: true, video: wish.camera ?? false })
    for (const track of stream.getTracks()) {
      const one = peer.getTransceivers().find(t => t.receiver.track.kind === track.kind && !t.sender.track)
      if (!one) continue
      one.direction = 'sendrecv'
      await one.sender.replaceTrack(track)
    }
  }
  const answer = await peer.createAnswer()
  await peer.setLocalDescription(answer)
  return answer.sdp
}
window.look = async () => {
  const [frames, sizes, packets] = [{}, {}, {}]
  for (const report of (await peer.getStats()).values()) {
    if (report.type !== 'inbound-rtp' || report.mid === undefined) continue
    if (report.kind === 'video') {
      frames[report.mid] = (frames[report.mid] ?? 0) + (report.framesDecoded ?? 0)
      sizes[report.mid] = Math.max(sizes[report.mid] ?? 0, report.frameWidth ?? 0)
    } else packets[report.mid] = (packets[report.mid] ?? 0) + report.packetsReceived
  }
  return { ice: peer.iceConnectionState, connection: peer.connectionState, frames, sizes, packets }
}
window.press = digits => peer.getSenders().find(s => s.dtmf)?.dtmf.insertDTMF(digits, 100, 70)
`

/** Serves empty pages to open peers in; `close` ends it. */
export async function openPeerSite(
  browser: TestBrowser,
): Promise<{ open(tone: number): Promise<PeerPage>; close(): Promise<void> }> {
  const site = createServer((_request, response) => {
    response.setHeader('content-type', 'text/html')
    response.end('<!doctype html><title>peer</title><body></body>')
  })
  await new Promise<void>(done => site.listen(0, '127.0.0.1', done))
  const url = `http://127.0.0.1:${(site.address() as AddressInfo).port}/`
  return {
    async open(tone) {
      const opened = await browser.open(url, tone)
      await opened.page.addScriptTag({ content: script })
      return peerPage(opened)
    },
    async close() {
      site.closeAllConnections()
      await new Promise(done => site.close(done))
    },
  }
}

function peerPage(opened: TestPage): PeerPage {
  const run = (name: string, ...args: unknown[]) =>
    opened.page.evaluate(`window.${name}(${args.map(arg => JSON.stringify(arg ?? {})).join()})`)
  const look = async () => (await run('look')) as PeerState
  return {
    ...opened,
    offer: async (wish = {}, options = {}) => (await run('makeOffer', wish, options)) as string,
    take: async answer => void (await run('takeAnswer', answer)),
    answer: async (offer, wish = {}) => (await run('makeAnswer', offer, wish)) as string,
    look,
    async until(test, what, ms = 10_000) {
      const until = Date.now() + ms
      for (;;) {
        const state = await look()
        if (test(state)) return state
        if (Date.now() > until) throw new Error(`${what}: ${JSON.stringify(state)}`)
        await opened.page.waitForTimeout(50)
      }
    },
    press: async digits => void (await run('press', digits)),
  }
}
