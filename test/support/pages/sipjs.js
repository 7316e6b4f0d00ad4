// The same on SIP.js: another library's way to offer, hold and transfer.
import { Registerer, SessionState, UserAgent } from 'sip.js'

const audio = document.createElement('audio')
audio.autoplay = true
document.body.append(audio)
const state = { registered: false, call: 'none', cause: '', ringing: false, held: false, notes: [] }
let [agent, session, autoAnswer, giveWay] = [undefined, undefined, true, false]
const constraints = { sessionDescriptionHandlerOptions: { constraints: { audio: true, video: false } } }

function follow(one) {
  session = one
  state.call = 'progress'
  one.stateChange.addListener(next => {
    // Another one has taken its place.
    if (session !== one) return
    if (next === SessionState.Established) {
      state.call = 'confirmed'
      const { remoteMediaStream } = one.sessionDescriptionHandler
      audio.srcObject = remoteMediaStream
      void audio.play()
    }
    if (next === SessionState.Terminated) state.call = state.call === 'confirmed' ? 'ended' : 'failed'
  })
  one.delegate = {
    onInfo: info => (state.notes.push(`info ${/Signal=\s*(\S)/.exec(info.request.body)?.[1]}`), info.accept()),
    onInvite: request => (state.held = /a=(sendonly|inactive)/.test(request.body) ? 'remote' : false),
  }
}

const reinvite = hold => {
  session.sessionDescriptionHandlerOptionsReInvite = { hold }
  return session.invite({ requestDelegate: { onAccept: () => (state.held = hold ? 'local' : false) } })
}

window.client = {
  state,
  async register({ uri, password, server }) {
    const user = UserAgent.makeURI(uri)
    agent = new UserAgent({
      uri: user,
      authorizationUsername: user.user,
      authorizationPassword: password,
      transportOptions: { server },
      sipExtensionReplaces: giveWay ? 'Supported' : 'Unsupported',
      logLevel: 'error',
      delegate: {
        onInvite: invitation => {
          follow(invitation)
          if (autoAnswer) void invitation.accept(constraints)
        },
      },
    })
    await agent.start()
    const registerer = new Registerer(agent)
    await new Promise((done, failed) => {
      registerer.stateChange.addListener(next => next === 'Registered' && done())
      void registerer.register({
        requestDelegate: { onReject: ({ message }) => failed(new Error(String(message.statusCode))) },
      })
    })
    state.registered = true
  },
  async call(target, { headers = [] } = {}) {
    const { Inviter } = await import('sip.js')
    const inviter = new Inviter(agent, UserAgent.makeURI(target), { ...constraints, extraHeaders: headers })
    follow(inviter)
    await inviter.invite({
      requestDelegate: {
        onProgress: () => (state.ringing = true),
        onReject: ({ message }) => Object.assign(state, { cause: message.reasonPhrase, status: message.statusCode }),
      },
    })
  },
  answering: on => (autoAnswer = on),
  // Counts for the next registration.
  givingWay: on => (giveWay = on),
  answer: () => session.accept(constraints),
  hangUp: () => (session.state === SessionState.Established ? session.bye() : (session.cancel?.() ?? session.reject())),
  hold: () => reinvite(true),
  resume: () => reinvite(false),
  dtmf: tones => session.sessionDescriptionHandler.sendDtmf(tones),
  refer: target => session.refer(UserAgent.makeURI(target)),
  stop: () => agent.stop(),
}
