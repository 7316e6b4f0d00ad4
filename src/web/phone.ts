import type { IncomingRTCSessionEvent } from 'jssip/lib/UA'
import { Call, type CallDeps } from './call.ts'
import type { SavedCall } from './call-view.ts'
import { createDevices, type Devices } from './devices.ts'
import { ha1Of } from './digest.ts'
import { newId, pause } from './jssip.ts'
import type { Meeting } from './meeting.ts'
import type { SavedMeeting } from './meeting-view.ts'
import { createMeetings } from './meetings.ts'
import { patienceMs } from './mend.ts'
import { notify } from './notify.ts'
import { placeOf, probe, socketUrl, tellServers } from './places.ts'
import { chooseServer, loadProfiles, type Profile, placesOf, saveProfiles, withProfile } from './profiles.ts'
import { reattach } from './replace.ts'
import * as server from './server.ts'
import { connectSip, type Registration, type Sip, withStream } from './sip.ts'
import { createStore, type Store } from './store.ts'
import { createTones, type Tones } from './tones.ts'

export interface PhoneState {
  stage: 'starting' | 'welcome' | 'ready'
  hello?: server.Hello
  profiles: readonly Profile[]
  /** The one in use, and the server that it was reached at. */
  profile?: Profile
  server?: string
  registration: Registration
  calls: readonly Call[]
  meeting?: Meeting
  /** Which of the calls is on the screen. */
  shown?: string
  /** One may have one's calls recorded here. */
  mayRecord: boolean
  people: readonly server.Person[]
  /** Who there is, is known. */
  listed: boolean
  past: readonly server.Past[]
  /** An invitation that was no good. */
  uninvited: boolean
}

/** The whole phone: who one is, where it is registered, its calls. */
export interface Phone {
  readonly state: Store<PhoneState>
  readonly devices: Devices
  readonly tones: Tones
  /** The signalling, for meetings; undefined while no server is reached. */
  sip(): Sip | undefined
  start(): Promise<void>
  /** Throws server.Failure. */
  signIn(user: string, password: string): Promise<void>
  addProfile(profile: Profile): void
  removeProfile(id: string): void
  /** `mum` → `sip:mum@vaartha.local`; addresses stay as they are. */
  address(whom: string): string
  /** Calls a name, a number or an address. */
  call(whom: string, name?: string): Promise<void>
  /** Makes a meeting of a call: whom one talks with moves into it, and somebody else is rung. */
  addPerson(call: Call, whom: string): Promise<void>
  show(id: string | undefined): void
  /** Reads the lists of people and calls anew. */
  refresh(): Promise<void>
}

const callKey = 'vaartha.call'
const mostCalls = 3
const endedMs = 2500
// Between two looks at who is there.
const refreshMs = 15_000

export function createPhone(): Phone {
  const devices = createDevices()
  const tones = createTones()
  const state = createStore<PhoneState>({
    stage: 'starting',
    profiles: loadProfiles(localStorage),
    registration: 'connecting',
    calls: [],
    mayRecord: false,
    people: [],
    listed: false,
    past: [],
    uninvited: false,
  })
  let sip: Sip | undefined
  let hideNotice = () => {}

  const callDeps: CallDeps = {
    devices,
    connected: () => sip?.connected() ?? false,
    reattach: (saved, stream) => reattach(() => sip, saved.uri, saved.dialog, withStream(stream)),
    onEnded,
    onMeeting: (call, told, at) => meetings.adopt(call, told, at),
  }
  const meetings = createMeetings({
    state,
    devices,
    sip: () => sip,
    address,
    holdOthers,
    onChange: sound,
    onEnded: afterMeeting,
  })

  async function start(): Promise<void> {
    follow()
    if (location.pathname === '/join') await join()
    const hello = await server.hello().catch(() => undefined)
    state.set({
      ...(hello === undefined ? {} : { hello, profiles: withNodes(hello.others) }),
      stage: state.get().profiles.length > 0 ? 'ready' : 'welcome',
    })
    if (state.get().stage === 'ready') await connect()
  }

  /** The other nodes that the page's server has told of are kept for the time when it is gone. */
  function withNodes(nodes: readonly string[]): readonly Profile[] {
    const isHere = ({ servers }: Profile) => servers.includes(location.host)
    const { profiles: before } = state.get()
    const profiles = before.map(one => (isHere(one) ? { ...one, nodes } : one))
    saveProfiles(localStorage, profiles)
    tellServers(profiles)
    return profiles
  }

  /** Uses an invitation up. Over plain HTTP it is only shown, for the way on to HTTPS. */
  async function join(): Promise<void> {
    const token = location.hash.slice(1)
    if (token === '' || !devices.possible) return
    try {
      addProfile({ ...(await server.redeem(token)), id: newId(), name: 'Vaartha', servers: [location.host] })
    } catch (error) {
      if (!(error instanceof server.Failure)) throw error
      state.set({ uninvited: true })
    }
    window.history.replaceState(null, '', '/')
  }

  async function connect(): Promise<void> {
    const saved = takeSaved()
    for (;;) {
      const { profiles } = state.get()
      const found = profiles.length === 0 ? undefined : await chooseServer(profiles, probe)
      if (state.get().profiles.length === 0) return
      if (found !== undefined) {
        use(found.profile, found.server)
        if (saved !== undefined) void ('meeting' in saved ? meetings.resume(saved) : resume(saved))
        return
      }
      state.set({ registration: 'offline' })
      await pause(3000)
    }
  }

  function use(profile: Profile, place: string): void {
    sip?.close()
    state.set({ profile, server: place, registration: 'connecting', mayRecord: false })
    sip = connectSip({
      profile,
      urls: [...new Set([place, ...placesOf(profile)])].map(socketUrl),
      onRegistration(registration, url) {
        state.set({ server: placeOf(url) })
        onRegistration(registration)
      },
      onIncoming,
      busy: () => state.get().calls.length > 0 || state.get().meeting !== undefined,
      onReconnected(moved) {
        for (const call of state.get().calls) call.reconnected()
        state.get().meeting?.reconnected(moved)
      },
    })
    if (place !== location.host) return
    void server.signIn(profile).then(
      ({ mayRecord }) => {
        state.set({ mayRecord })
        void refresh()
      },
      () => undefined,
    )
  }

  let away: ReturnType<typeof setTimeout> | undefined
  function onRegistration(registration: Registration): void {
    state.set({ registration })
    clearTimeout(away)
    if (registration !== 'offline') return
    // Another profile's server may be the one that is near now; a call is not given up for that.
    const { profiles, calls } = state.get()
    const places = profiles.flatMap(profile => profile.servers)
    if (places.length > 1 && calls.length === 0 && state.get().meeting === undefined)
      away = setTimeout(() => void connect(), 5000)
  }

  async function call(whom: string, name?: string): Promise<void> {
    const person = state.get().people.find(one => one.user === whom)
    if (person?.group || /^meet(-[a-z0-9]+)?$/.test(whom))
      return void (await meetings.join(whom, name ?? person?.name ?? whom))
    const made = new Call(callDeps, { id: newId(), direction: 'out', name: name ?? whom, address: whom })
    add(made)
    let stream: MediaStream
    try {
      stream = await devices.microphone()
    } catch {
      return made.end('noMicrophone')
    }
    if (made.ended || sip === undefined) {
      for (const track of stream.getTracks()) track.stop()
      return made.end('failed')
    }
    await holdOthers(made)
    made.attach(sip.call(address(whom), withStream(stream)), stream)
  }

  function address(whom: string): string {
    if (/^sips?:/i.test(whom)) return whom
    const plain = whom.trim()
    // encodeURIComponent leaves `*` alone; `#` must be escaped (RFC 3261 section 25.1).
    return plain.includes('@') ? `sip:${plain}` : `sip:${encodeURIComponent(plain)}@${state.get().profile?.domain}`
  }

  function onIncoming({ session, request }: IncomingRTCSessionEvent): void {
    const { uri, display_name } = request.from
    const pair = request.getHeader('Vaartha-Mesh')
    if (pair !== undefined) {
      // Only members of the same meeting get such a request through the server.
      if (!state.get().meeting?.takePair(session, pair)) session.terminate({ status_code: 480 })
      return
    }
    // Its call has taken it already (call.ts).
    if (request.hasHeader('Replaces')) return
    const { calls, meeting } = state.get()
    const name = display_name || uri.user || uri.toString()
    const busy = calls.length >= mostCalls || !devices.possible
    const asMeeting = request.getHeader('Vaartha-Meeting') !== undefined
    if (busy || (asMeeting && meeting !== undefined && !meeting.ended))
      return void session.terminate({ status_code: 486 })
    if (asMeeting) {
      return meetings.ring(session, uri.toString(), name)
    }
    const made = new Call(callDeps, { id: newId(), direction: 'in', name, address: uri.user ?? '' })
    made.attach(session)
    add(made)
  }

  function add(made: Call): void {
    state.set({ calls: [...state.get().calls, made], shown: made.id })
    made.view.subscribe(sound)
    sound()
  }

  /** One tone for all calls together: the most urgent one. */
  function sound(): void {
    const { calls, meeting } = state.get()
    const views = calls.map(one => one.view.get())
    const invited = meeting?.view.get()
    const incoming =
      views.find(view => view.state === 'incoming') ?? (invited?.state === 'incoming' ? invited : undefined)
    const wanted = incoming ? 'ring' : views.some(view => view.state === 'ringing') ? 'ringback' : undefined
    if (wanted === sounding) return
    sounding = wanted
    hideNotice()
    if (wanted === undefined) return tones.stop()
    tones.start(wanted)
    if (incoming && document.hidden) hideNotice = notify(incoming.name, '')
  }
  let sounding: 'ring' | 'ringback' | undefined

  function onEnded(ended: Call): void {
    sound()
    const { why } = ended.view.get()
    if (!state.get().calls.includes(ended)) return
    if (why !== undefined && why !== 'missed') tones.start(why === 'busy' || why === 'declined' ? 'busy' : 'ended')
    keep()
    // Its end stays readable for a moment.
    setTimeout(() => {
      const calls = state.get().calls.filter(one => one !== ended)
      const shown = state.get().shown === ended.id ? calls.at(-1)?.id : state.get().shown
      state.set({ calls, ...(shown === undefined ? { shown: undefined as never } : { shown }) })
      void refresh()
    }, endedMs)
  }

  function afterMeeting(): void {
    tones.start('ended')
    keep()
  }

  async function holdOthers(but?: Call): Promise<void> {
    const talking = state.get().calls.filter(one => one !== but && one.view.get().since !== undefined && !one.ended)
    await Promise.all(talking.map(one => one.hold(true)))
  }

  /** Goes on with the call that the page had before it was loaded anew. */
  async function resume(saved: SavedCall): Promise<void> {
    const { name, address, direction, since, muted } = saved
    const made = new Call(callDeps, { id: newId(), direction, name, address, since, muted, state: 'mending' })
    add(made)
    const stream = await devices.microphone().catch(() => undefined)
    const session = stream && (await reattach(() => sip, saved.uri, saved.dialog, withStream(stream)))
    if (session === undefined) return made.end('connectionLost')
    made.attach(session, stream)
    made.taken()
  }

  /** Writes down the call that a reload would interrupt. */
  function keep(): void {
    const { calls, meeting } = state.get()
    const saved = meeting?.save() ?? calls.flatMap(one => one.save() ?? []).at(-1)
    if (saved === undefined) sessionStorage.removeItem(callKey)
    else sessionStorage.setItem(callKey, JSON.stringify(saved))
  }

  function takeSaved(): SavedCall | SavedMeeting | undefined {
    const text = sessionStorage.getItem(callKey)
    sessionStorage.removeItem(callKey)
    const saved = text === null ? undefined : (JSON.parse(text) as SavedCall | SavedMeeting)
    return saved !== undefined && Date.now() - saved.at < patienceMs ? saved : undefined
  }

  function follow(): void {
    window.addEventListener('pagehide', keep)
    window.addEventListener('online', () => {
      sip?.hurry()
      for (const one of state.get().calls) one.networkChanged()
      state.get().meeting?.networkChanged()
    })
    setInterval(() => {
      if (!document.hidden && state.get().calls.length === 0) void refresh()
    }, refreshMs)
    document.addEventListener('visibilitychange', () => {
      if (!document.hidden) sip?.hurry()
    })
  }

  async function refresh(): Promise<void> {
    const { profile, server: place } = state.get()
    if (profile === undefined || place !== location.host) return
    try {
      const [people, past] = await Promise.all([server.people(), server.history()])
      state.set({ people, past, listed: true })
    } catch (error) {
      // A server that was started anew has forgotten the session.
      if (error instanceof server.Failure && error.status === 401) await server.signIn(profile).catch(() => undefined)
    }
  }

  function addProfile(profile: Profile): void {
    const profiles = withProfile(state.get().profiles, profile)
    saveProfiles(localStorage, profiles)
    state.set({ profiles })
    tellServers(profiles)
  }

  return {
    state,
    devices,
    tones,
    sip: () => sip,
    start,
    async signIn(user, password) {
      // Here and not on the server: the password never leaves this page.
      const domain = await server.realm()
      const who = { user: user.trim().toLowerCase(), ha1: ha1Of(user.trim(), domain, password) }
      const { displayName } = await server.signIn(who)
      addProfile({ ...who, id: newId(), name: 'Vaartha', servers: [location.host], domain, displayName })
      state.set({ stage: 'ready', profiles: withNodes(state.get().hello?.others ?? []) })
      await connect()
    },
    addProfile(profile) {
      addProfile(profile)
      // The page's policy header has to name the new server.
      if (profile.servers.some(name => name !== location.host)) location.reload()
      else void connect()
    },
    removeProfile(id) {
      const profiles = state.get().profiles.filter(one => one.id !== id)
      saveProfiles(localStorage, profiles)
      tellServers(profiles)
      if (state.get().profile?.id !== id) return state.set({ profiles })
      void server.signOut().catch(() => undefined)
      sip?.close()
      sip = undefined
      state.set({ profiles, stage: profiles.length > 0 ? 'ready' : 'welcome', people: [], past: [], listed: false })
      if (profiles.length > 0) void connect()
    },
    address,
    call,
    addPerson: meetings.addPerson,
    show(id) {
      state.set(id === undefined ? { shown: undefined as never } : { shown: id })
      const shown = state.get().calls.find(one => one.id === id)
      if (shown?.view.get().since !== undefined) void holdOthers(shown).then(() => shown.hold(false))
    },
    refresh,
  }
}
