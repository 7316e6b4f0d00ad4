import { Refusal } from '../errors.ts'
import type { Logger } from '../log.ts'
import type { LegEvent, Media, Profile, Stream } from '../media/media.ts'
import { End, endOf, unavailable } from './anchor.ts'
import { asRefusal } from './as-refusal.ts'
import { type Branch, dialogIdOf, type Fork } from './fork.ts'
import { accepting, identity, opening, type Party, reasonHeader, tagOf } from './headers.ts'
import { Leg, restoreLeg } from './leg.ts'
import { LocalDialog } from './local-dialog.ts'
import type { Ringer } from './ring.ts'
import type { Target } from './route.ts'
import { isSecure } from './sdp.ts'
import { send200 } from './send-200.ts'
import {
  type Ack,
  type Headers,
  type Incoming,
  type Message,
  type Reply,
  type Response,
  reply,
  type SrfPort,
} from './sip.ts'
import type { LegSnapshot } from './snapshot.ts'
import type { Replaces } from './transfer.ts'

export type { LocalDialog, LocalDialogEvents } from './local-dialog.ts'

export interface LocalDeps {
  srf: SrfPort
  media: Media | undefined
  ringer: Ringer
  domain: string
  config: { sessionExpires: number; minSe: number }
  /** A request inside a dialog that is not ours any more. */
  onStray?: ((req: Incoming, res: Reply) => void) | undefined
  log: Logger
}

/** What both directions may say of the dialog to be. */
export interface LocalOptions {
  /** A Contact of ours, for example `<sip:family@localhost>;isfocus`: the engine fills in the host for `localhost`. */
  contact?: string | undefined
  /** More headers of our INVITE, or of our answer. */
  headers?: Headers | undefined
  /** m-lines to offer, or that may be accepted. */
  streams?: readonly Stream[] | ((profile: Profile) => readonly Stream[]) | undefined
  /** m-lines that a later re-INVITE of theirs may have; default: `streams`. */
  accepts?: ((profile: Profile) => readonly Stream[]) | undefined
  /** Media legs with the same word are put together where that is cheaper. */
  near?: string | undefined
  /** For logs. */
  label?: Record<string, string> | undefined
  /** False when the dialog may be another node's by now: nothing is sent in it then. */
  owns?: (() => boolean) | undefined
}

export interface AnswerOptions extends LocalOptions {
  /** A provisional response first (183 with our SDP), and the 200 when `until` resolves. */
  early?: { status: 180 | 183; until: Promise<unknown> } | undefined
}

export interface InviteOptions extends LocalOptions {
  /** Who calls, as the rung ones see it. */
  from: Party
  onRinging?: ((aor: string) => void) | undefined
  /** Gives up ringing. */
  signal?: AbortSignal | undefined
  ringMs?: number | undefined
}

/** Whom to ring: a person's contacts, the device of a GRUU, or contacts that are known. */
export type Callee = { user: string; uri?: string } | { party: Party; targets: readonly Target[] }

export interface LocalDialogs {
  /** Answers an INVITE ourselves. Throws Refusal (nothing has been answered then): 488, 400, 487 when cancelled, 503 without media. */
  answer(req: Incoming, res: Reply, party: Party, options?: AnswerOptions): Promise<LocalDialog>
  /** Calls; the first contact that answers wins. Throws Refusal: nobody there (404, 480), busy, declined, cancelled. */
  invite(callee: Callee, options: InviteOptions): Promise<LocalDialog>
  /** Makes a dialog that a call lets go of one with ourselves, by re-INVITE. Throws Refusal when it does not take that. */
  adopt(leg: Leg, towards: { profile: Profile; address: string }, options?: LocalOptions): Promise<LocalDialog>
  /**
   * A dialog of another node that is installed in the engine already; `contact` is the URI of its client's Contact. Its
   * media leg is made by `bring`, or when the client offers. Throws Refusal without media.
   */
  restore(snapshot: LegSnapshot, contact: string, options: LocalOptions): LocalDialog
  /** The dialog that a Replaces header means. */
  locate(replaces: Replaces): LocalDialog | undefined
  list(): LocalDialog[]
  /** Ends all and waits for their BYEs. */
  close(): Promise<void>
}

/** Dialogs whose other end is this server: focuses of meetings, echo and delay tests. */
export function createLocalDialogs(deps: LocalDeps): LocalDialogs {
  const { srf, ringer, domain, config } = deps
  const dialogs = new Set<LocalDialog>()
  let closing = false

  /** The media room; throws Refusal where it cannot carry this now. */
  function ready(profile: Profile = 'plain'): Media {
    if (closing) throw new Refusal('too-busy')
    if (deps.media === undefined) throw unavailable('This server carries no media')
    const { sfu, why } = deps.media.state()
    if (profile === 'webrtc' && sfu !== 'ready') throw unavailable(why)
    return deps.media
  }

  /** Until a leg has its dialog, what it tells waits. */
  function listen() {
    const early: LegEvent[] = []
    const ear = {
      dialog: undefined as LocalDialog | undefined,
      onEvent(event: LegEvent) {
        if (ear.dialog) ear.dialog.onMedia(ear.dialog.dialog, event)
        else if (early.length < 32) early.push(event)
      },
      give(dialog: LocalDialog) {
        ear.dialog = dialog
        for (const event of early.splice(0)) ear.onEvent(event)
      },
    }
    return ear
  }

  function enter(
    leg: Leg,
    mediaLeg: string,
    invite: Message,
    options: LocalOptions,
    profile: Profile,
    place?: (offer: string | undefined) => Promise<{ leg: string; sdp: string }>,
  ) {
    const dialog = new LocalDialog(
      {
        place,
        owns: options.owns,
        onStray: deps.onStray,
        media: ready(),
        log: deps.log.child({ dialog: leg.id, ...options.label }),
        contact: options.contact,
        streams: options.accepts?.(profile) ?? streamsFor(options, profile),
        onEnd: ended => dialogs.delete(ended),
      },
      leg,
      mediaLeg,
      invite,
    )
    dialogs.add(dialog)
    return dialog
  }

  async function answer(req: Incoming, res: Reply, party: Party, options: AnswerOptions = {}): Promise<LocalDialog> {
    const end = endOf(req)
    const { profile } = end
    const media = ready(profile)
    let cancelled = false
    req.on('cancel', () => {
      cancelled = true
    })
    req.on('update', (_update, answer) => reply(answer, 491))
    const ear = listen()
    const { leg, sdp } = await media.allocate({
      profile,
      towards: req.source_address,
      offer: req.body || undefined,
      streams: streamsFor(options, profile),
      onEvent: ear.onEvent,
      near: options.near,
      label: options.label,
    })
    const headers: Headers = {
      ...accepting(req, config),
      ...(options.contact ? { Contact: options.contact } : {}),
      'Content-Type': 'application/sdp',
      ...options.headers,
    }
    try {
      if (options.early) {
        const { status, until } = options.early
        reply(res, status, status === 183 ? { headers, body: sdp } : {})
        await until
      }
      if (cancelled) throw new Refusal('request-terminated')
      const sent = await send200(res, headers, sdp)
      const dialog = new Leg(srf, nobody, party, res.stackDialogId ?? '', end)
      dialog.learn(req)
      dialog.localSdp = sdp
      dialog.toTag = tagOf(sent)
      dialog.confirmed = true
      const local = enter(dialog, leg, req, options, profile)
      if (!req.body) local.awaitAnswer()
      ear.give(local)
      return local
    } catch (error) {
      await media.release(leg)
      throw error
    }
  }

  async function invite(callee: Callee, options: InviteOptions): Promise<LocalDialog> {
    const media = ready()
    const found =
      'targets' in callee
        ? { callee: callee.party, targets: callee.targets }
        : await ringer.find(callee.user, undefined, callee.uri)
    if (options.signal?.aborted) throw new Refusal('request-terminated')
    const legs = new Map<Branch, { leg: string; ear: ReturnType<typeof listen>; profile: Profile }>()
    const release = async (but?: Branch) => {
      await Promise.all([...legs].map(([branch, { leg }]) => (branch === but ? undefined : media.release(leg))))
    }
    const body = async (branch: Branch) => {
      const { profile, address } = branch.target
      const ear = listen()
      const streams = streamsFor(options, profile)
      const made = await media.allocate({
        profile,
        towards: address,
        streams,
        onEvent: ear.onEvent,
        label: options.label,
        near: options.near,
      })
      legs.set(branch, { leg: made.leg, ear, profile })
      if (branch.cancelled) await media.release(made.leg)
      return made.sdp
    }
    const headers: Headers = {
      ...opening(config, false),
      ...identity(options.from, domain),
      To: `<sip:${found.callee.user}@${domain}>`,
      'Content-Type': 'application/sdp',
      ...(options.contact ? { Contact: options.contact } : {}),
      ...options.headers,
    }
    const { branch, response } = await ringUntil(found.targets, headers, body, options).catch(async error => {
      await release()
      throw error
    })
    await release(branch)
    const own = legs.get(branch)!
    const dialog = dialogOf(branch, response, found.callee)
    dialog.localSdp = branch.body ?? ''
    const local = enter(dialog, own.leg, response, options, own.profile)
    try {
      await media.answer(own.leg, response.body ?? '')
    } catch (error) {
      await local.bye(reasonHeader(488, 'No common media'))
      throw error
    }
    own.ear.give(local)
    return local
  }

  function ringUntil(
    targets: readonly Target[],
    headers: Headers,
    body: (branch: Branch) => Promise<string>,
    options: InviteOptions,
  ): Promise<{ branch: Branch; response: Response }> {
    const ringing = { forks: [] as Fork[], log: deps.log }
    return new Promise((resolve, reject) => {
      const giveUp = () => {
        for (const fork of ringing.forks) fork.cancel(reasonHeader(487, 'Not wanted any more'))
        done()
        reject(new Refusal('request-terminated'))
      }
      const timer = options.ringMs === undefined ? undefined : setTimeout(giveUp, options.ringMs)
      const done = () => {
        clearTimeout(timer)
        options.signal?.removeEventListener('abort', giveUp)
      }
      options.signal?.addEventListener('abort', giveUp)
      const user = {
        onProgress(branch: Branch, response: Response, ack: Ack) {
          if (response.has('RSeq')) ack()
          if (response.status > 100) options.onRinging?.(branch.target.aor)
        },
        onAnswer(branch: Branch, response: Response, ack: Ack) {
          done()
          ack()
          resolve({ branch, response })
        },
        onLate(branch: Branch, response: Response, ack: Ack) {
          ack()
          void dialogOf(branch, response, options.from).bye(reasonHeader(200, 'Call completed elsewhere'))
        },
        onFailure(status: number) {
          done()
          reject(asRefusal(status))
        },
      }
      ringer.ring(ringing, targets, { headers, body }, user)
    })
  }

  /** Whose media passes this server already stays on its leg: a browser would not tell another one on the same worker from it. */
  async function keep(leg: Leg, mediaLeg: string, options: LocalOptions): Promise<LocalDialog> {
    const { profile } = leg.end
    const media = ready(profile)
    const headers = options.contact ? { Contact: options.contact } : {}
    const answer = await leg.offer(() => media.offer(mediaLeg), { ...headers, ...options.headers })
    if (answer.status >= 300 || answer.response === undefined) throw asRefusal(answer.status)
    await media.answer(mediaLeg, answer.response.body ?? '')
    leg.end.give()
    return enter(leg, mediaLeg, answer.response, options, profile)
  }

  async function adopt(
    leg: Leg,
    { profile, address }: { profile: Profile; address: string },
    options: LocalOptions = {},
  ): Promise<LocalDialog> {
    if (leg.end.leg !== undefined) return keep(leg, leg.end.leg, options)
    const media = ready(profile)
    const ear = listen()
    const streams = streamsFor(options, profile)
    const { near, label } = options
    const after = leg.remoteSdp || undefined
    const wish = { profile, towards: address, streams, onEvent: ear.onEvent, near, label, after }
    const made = await media.allocate(wish)
    try {
      const headers = options.contact ? { Contact: options.contact } : {}
      const answer = await leg.offer(made.sdp, { ...headers, ...options.headers })
      if (answer.status >= 300 || answer.response === undefined) throw asRefusal(answer.status)
      await media.answer(made.leg, answer.response.body ?? '')
      const local = enter(leg, made.leg, answer.response, options, profile)
      ear.give(local)
      // A browser is told where we are when it knows who we are.
      if (profile !== 'webrtc' || after === undefined || (await local.renegotiate())) return local
      await local.bye()
      throw new Refusal('not-acceptable-here')
    } catch (error) {
      await media.release(made.leg)
      throw error
    }
  }

  function dialogOf(branch: Branch, response: Response, party: Party): Leg {
    const leg = new Leg(srf, nobody, party, dialogIdOf(response, branch.sent!), branch.end)
    leg.learn(response)
    leg.toTag = tagOf(response.get('To'))
    leg.confirmed = true
    return leg
  }

  function restore(snapshot: LegSnapshot, contact: string, options: LocalOptions): LocalDialog {
    const { profile, address } = snapshot
    const leg = restoreLeg(srf, nobody, snapshot, new End(profile, address))
    const ear = listen()
    const { near, label, accepts } = options
    const place = (offer: string | undefined) => {
      const common = { profile, towards: address, near, label, onEvent: ear.onEvent }
      if (offer !== undefined)
        return ready(profile).allocate({
          ...common,
          offer,
          streams: accepts?.(profile) ?? streamsFor(options, profile),
        })
      const after = leg.remoteSdp || undefined
      const secure = profile === 'plain' && isSecure(leg.remoteSdp)
      return ready(profile).allocate({ ...common, streams: streamsFor(options, profile), after, secure })
    }
    const invite: Message = {
      get: name => (name === 'Contact' && contact !== '' ? `<${contact}>` : undefined),
      has: name => name === 'Contact' && contact !== '',
      body: snapshot.remoteSdp,
    }
    const local = enter(leg, '', invite, options, profile, place)
    ear.give(local)
    return local
  }

  return {
    answer,
    invite,
    adopt,
    restore,
    locate: replaces => [...dialogs].find(({ dialog }) => dialog.isMeantBy(replaces)),
    list: () => [...dialogs],
    async close() {
      closing = true
      await Promise.all([...dialogs].map(dialog => dialog.bye(reasonHeader(503, 'The server stops'))))
    },
  }
}

function streamsFor({ streams }: LocalOptions, profile: Profile): readonly Stream[] | undefined {
  return typeof streams === 'function' ? streams(profile) : streams
}

/** Who owns a dialog in the moment between its answer and its LocalDialog. */
const nobody = { onRequest: (_leg: Leg, _req: Incoming, res: Reply) => reply(res, 491) }
