import { Refusal } from '../errors.ts'
import type { Logger } from '../log.ts'
import type { LegEvent, Media, Playing, Profile, Stream } from '../media/media.ts'
import { profileOf } from '../media/sdp/streams.ts'
import { likeOffer, towards } from './sdp.ts'
import type { Incoming } from './sip.ts'

// A call's media goes directly wherever both ends speak the same. Where they do not, each end gets a media leg of its own,
// and the two legs meet in a bridge. An end keeps its leg through transfers: who stays need not be asked anything.

/** One end of a conversation as the media room has to know it: a dialog, or a contact that rings. */
export class End {
  profile: Profile
  /** Where its signalling comes from. */
  readonly address: string
  /** Id of its media leg, while its media passes this server. */
  leg: string | undefined
  /** What it was told last, and has answered last. */
  sdp = ''
  heard = ''
  room: string | undefined
  playing: Playing | undefined
  /** On hold. */
  waits = false
  /** Called when its media flows. */
  onFlow: (() => void) | undefined
  /** Told what happens to the media leg. */
  onEvent: (event: LegEvent) => void = () => undefined
  released = false
  #release: ((leg: string) => void) | undefined

  constructor(profile: Profile, address: string) {
    this.profile = profile
    this.address = address
  }

  /** Gives it a media leg, and what releases that. */
  take(leg: string, release: (leg: string) => void): void {
    this.leg = leg
    this.#release = release
  }

  /** Its media passes this server no more: the end has gone, or talks directly now. */
  release(): void {
    const { leg } = this
    this.playing?.stop()
    this.leg = this.room = this.playing = undefined
    this.sdp = this.heard = ''
    this.waits = false
    if (leg !== undefined) this.#release?.(leg)
  }

  /** Gives its media leg away: somebody else releases it. Undefined when its media does not pass this server. */
  give(): string | undefined {
    const { leg } = this
    this.#release = undefined
    this.release()
    return leg
  }

  /** It has gone for good: also a leg that is just being made is released. */
  close(): void {
    this.released = true
    this.release()
  }
}

/** Who sent this INVITE: by its offer, or else by its transport, since browsers come over WebSockets. */
export function endOf(req: Incoming): End {
  const browser = /^SIP\s*\/\s*2\.0\s*\/\s*wss?\b/i.test(req.get('Via') ?? '')
  return new End(req.body ? profileOf(req.body) : browser ? 'webrtc' : 'plain', req.source_address)
}

type Speaker = Pick<End, 'profile'>

export interface OfferWish {
  /** The SDP that the other end has offered: what is offered on is like it. */
  like?: string | undefined
  streams?: readonly Stream[] | undefined
  /** The end's last SDP, when it had another partner before. */
  after?: string | undefined
  /** SDES keys for a phone. */
  secure?: boolean
}

export interface Anchor {
  /** Whether a new call between the two has to pass this server. */
  between(one: Speaker, other: Speaker): boolean
  /** The same for who meets in mid-call: two browsers cannot be shown each other's old descriptions. */
  inMidCall(one: Speaker, other: Speaker): boolean
  /** Why these cannot be carried now: `media-unavailable` in words; undefined when they can. */
  missing(ends: readonly Speaker[]): Refusal | undefined
  isReady(): boolean
  readonly hasMusic: boolean
  /** An offer of ours to `to`; makes its leg. */
  offer(to: End, wish: OfferWish): Promise<string>
  /** Its answer to that. */
  accept(to: End, answer: string | undefined): Promise<void>
  /** Our answer to its offer, in what `like` has chosen; makes its leg, or changes it. */
  answer(to: End, offer: string, like: End): Promise<string>
  /** A new offer for a leg that is there. */
  reoffer(to: End, streams?: readonly Stream[]): Promise<string>
  streams(end: End): Stream[]
  /** Resolves when the end's media flows, or after `ms`. */
  flows(end: End, ms: number): Promise<void>
  /** Lets two ends hear each other. */
  connect(one: End, other: End): Promise<void>
  /** Music for who waits, or its end. */
  hold(end: End, on: boolean): Promise<void>
}

export interface AnchorDeps {
  media: Media | undefined
  config: { browserMedia: 'direct' | 'relay'; musicOnHold: boolean }
  log: Logger
}

/** The media side of one call. */
export function createAnchor(deps: AnchorDeps, call: string): Anchor {
  const { config, log } = deps

  function media(): Media {
    if (deps.media === undefined) throw unavailable('This server carries no media')
    return deps.media
  }

  function release(leg: string): void {
    deps.media?.release(leg).catch((error: unknown) => log.error({ err: error, call, leg }, 'media leg not released'))
  }

  function missing(ends: readonly Speaker[]): Refusal | undefined {
    if (deps.media === undefined) return unavailable('This server carries no media')
    if (!ends.some(({ profile }) => profile === 'webrtc')) return undefined
    const { sfu, why } = deps.media.state()
    return sfu === 'ready' ? undefined : unavailable(why)
  }

  async function allocate(end: End, wish: Partial<Parameters<Media['allocate']>[0]>): Promise<string> {
    const refusal = missing([end])
    if (refusal) throw refusal
    const { leg, sdp } = await media().allocate({
      profile: end.profile,
      towards: end.address,
      near: call,
      label: { call },
      onEvent(event) {
        if (event.type === 'media') end.onFlow?.()
        end.onEvent(event)
      },
      ...wish,
    })
    if (end.released) {
      release(leg)
      throw new Refusal('request-terminated')
    }
    end.release()
    end.take(leg, release)
    end.sdp = sdp
    return sdp
  }

  let connecting: Promise<unknown> = Promise.resolve()
  /** One after the other: two at once would leave each end in a room of its own. */
  function connect(one: End, other: End): Promise<void> {
    const next = connecting.then(() => connectNow(one, other))
    connecting = next.catch(() => undefined)
    return next
  }

  async function connectNow(one: End, other: End): Promise<void> {
    if (one.leg === undefined || other.leg === undefined) return
    if (one.room !== undefined && one.room === other.room) return
    const room = await media().open({ kind: 'bridge', transient: true, label: { call } })
    for (const end of [one, other]) {
      if (end.leg === undefined) continue
      await media().join(end.leg, room)
      end.room = room
    }
  }

  return {
    between: (one, other) =>
      one.profile !== other.profile || (one.profile === 'webrtc' && config.browserMedia === 'relay'),
    // While the SFU is away two browsers are shown each other's all the same: most take a new fingerprint with new ICE
    // credentials (RFC 8842 section 5.5), and the call would be lost otherwise.
    inMidCall: (one, other) =>
      one.profile !== other.profile || (one.profile === 'webrtc' && deps.media?.state().sfu === 'ready'),
    missing,
    hasMusic: config.musicOnHold,
    isReady: () => deps.media?.state().sfu === 'ready',
    async offer(to, { like, streams, after, secure }) {
      const wanted = streams ?? (like === undefined ? undefined : likeOffer(like, to.profile))
      return allocate(to, { streams: wanted, after, secure })
    },
    async accept(to, answer) {
      if (to.leg === undefined || (answer !== undefined && answer === to.heard)) return
      await media().answer(to.leg, answer ?? '')
      to.heard = answer ?? ''
    },
    async answer(to, offer, like) {
      const chosen = like.leg === undefined ? undefined : towards(media().streams(like.leg))
      const make = (streams: readonly Stream[] | undefined) =>
        to.leg === undefined ? allocate(to, { offer, streams }) : media().accept(to.leg, offer, streams)
      try {
        to.sdp = await make(chosen)
      } catch (error) {
        if (!(error instanceof Refusal && error.code === 'not-acceptable-here') || chosen === undefined) throw error
        // No codec in common with the other end: the audio thread translates.
        to.sdp = await make(chosen.map(stream => ({ ...stream, codecs: [] })))
      }
      to.heard = offer
      return to.sdp
    },
    async reoffer(to, streams) {
      if (to.leg === undefined) throw new Refusal('no-such-call')
      to.heard = ''
      to.sdp = await media().offer(to.leg, streams ? { streams } : undefined)
      return to.sdp
    },
    flows: (end, ms) =>
      new Promise(resolve => {
        const timer = setTimeout(resolve, ms).unref()
        end.onFlow = () => {
          clearTimeout(timer)
          resolve()
        }
      }),
    streams: end => (end.leg === undefined ? [] : media().streams(end.leg)),
    connect,
    async hold(end, on) {
      end.playing?.stop()
      end.playing = undefined
      end.waits = on
      if (!on || !config.musicOnHold || end.leg === undefined) return
      const playing = await media().play({ leg: end.leg }, 'hold', { loop: true })
      // Resumed or gone while it began.
      if (!end.waits || end.playing !== undefined) playing.stop()
      else end.playing = playing
    },
  }
}

/** 503 with the reason in words, for people and for programs (RFC 3261 section 20.43). */
export function unavailable(why: string): Refusal {
  const words = why.replace(/[^\x20-\x7e]|["\\]/g, ' ').slice(0, 200)
  return new Refusal('media-unavailable', why, {
    headers: { Warning: `399 vaartha "${words}"`, 'Retry-After': '30' },
  })
}
