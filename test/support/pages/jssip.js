// A page that was never written for this server: a phone of a few lines on JsSIP.
import JsSIP from 'jssip'

const audio = document.createElement('audio')
audio.autoplay = true
document.body.append(audio)
const state = { registered: false, call: 'none', cause: '', ringing: false, held: false, notes: [] }
let [agent, session, autoAnswer, giveWay, options] = [undefined, undefined, true, true, {}]

function follow(one) {
  session = one
  state.call = 'progress'
  state.held = false
  one.on('progress', () => (state.ringing = true))
  one.on('accepted', () => (state.call = 'accepted'))
  one.on('confirmed', () => (state.call = 'confirmed'))
  // One that another has taken the place of ends without a word.
  one.on('ended', event => session === one && Object.assign(state, { call: 'ended', cause: event.cause }))
  one.on('failed', event => Object.assign(state, { call: 'failed', cause: event.cause, status: event.message?.status_code }))
  one.on('hold', event => (state.held = event.originator))
  one.on('unhold', () => (state.held = false))
  one.on('newDTMF', event => event.originator === 'remote' && state.notes.push(`info ${event.dtmf.tone}`))
  if (giveWay) one.on('replaces', event => event.accept())
  const listen = connection =>
    connection.addEventListener('track', ({ streams, track }) => {
      audio.srcObject = streams[0] ?? new MediaStream([track])
      void audio.play()
    })
  if (one.connection) listen(one.connection)
  else one.on('peerconnection', ({ peerconnection }) => listen(peerconnection))
}

/** JsSIP does nothing, and says nothing, when it is asked while a re-INVITE is under way. */
async function free() {
  while (!session.isReadyToReOffer()) await new Promise(done => setTimeout(done, 20))
  return true
}

window.client = {
  state,
  register({ uri, password, server, ice = [] }) {
    const socket = new JsSIP.WebSocketInterface(server)
    options = { pcConfig: { iceServers: ice } }
    agent = new JsSIP.UA({ sockets: [socket], uri, password, register: true, session_timers: true })
    agent.on('newRTCSession', ({ session: one, originator }) => {
      follow(one)
      if (originator === 'remote' && autoAnswer) one.answer({ mediaConstraints: { audio: true, video: false }, ...options })
    })
    return new Promise((done, failed) => {
      agent.on('registered', () => done((state.registered = true)))
      agent.on('registrationFailed', ({ cause }) => failed(new Error(cause)))
      agent.start()
    })
  },
  call(target, { video = false, headers = [] } = {}) {
    state.ringing = false
    agent.call(target, { mediaConstraints: { audio: true, video }, extraHeaders: headers, ...options })
  },
  answering: on => (autoAnswer = on),
  // Without a listener JsSIP says nothing at all to an INVITE with Replaces, though it has said that it knows it.
  givingWay: on => (giveWay = on),
  answer: () => session.answer({ mediaConstraints: { audio: true, video: false }, ...options }),
  hangUp: () => session.terminate(),
  hold: async () => (await free()) && session.hold(),
  resume: async () => (await free()) && session.unhold(),
  dtmf: (tones, how) => session.sendDTMF(tones, { transportType: how ?? 'RFC2833' }),
  refer: target => session.refer(target),
  restartIce: async headers =>
    (await free()) && session.renegotiate({ rtcOfferConstraints: { iceRestart: true }, extraHeaders: headers }),
  stop: () => agent.stop(),
}
