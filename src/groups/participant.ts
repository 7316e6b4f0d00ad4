import type { LocalDialog } from '../calls/local.ts'
import type { Profile, Stream } from '../media/media.ts'
import type { Keys } from './keys.ts'
import type { Person } from './person.ts'
import type { RosterEndpoint } from './roster.ts'
import type { MemberSnapshot } from './snapshot.ts'
import { meetingType } from './wish.ts'

/** One device in a meeting: its id stays when a reload gives it another dialog. */
export class Participant {
  readonly id: number
  readonly person: Person
  readonly joining: 'dialed-in' | 'dialed-out'
  /** ISO 8601, UTC. */
  readonly since: string
  dialog: LocalDialog
  /** Its client says that it can send to the others directly, and it is so. */
  wantsMesh = false
  mesh = false
  /** It knows docs/meetings.md. */
  aware = false
  muted = false
  held = false
  /** What its leg carried before it was put to rest. */
  resting: Stream[] | undefined
  /** What its leg carried on the node that is gone, until its client has come here. */
  lines: readonly Stream[] | undefined
  keys: Keys
  /** Resolves when it is in. */
  ready: Promise<void> = Promise.resolve()
  #news: Record<'tiles' | 'slots', Record<string, number | null>> = { tiles: {}, slots: {} }
  #telling = false
  /** It was last asked to rest. */
  #rests = false

  constructor(id: number, person: Person, joining: 'dialed-in' | 'dialed-out', dialog: LocalDialog, now: number) {
    this.id = id
    this.person = person
    this.joining = joining
    this.since = new Date(now).toISOString()
    this.dialog = dialog
    this.take(dialog)
  }

  get profile(): Profile {
    return this.dialog.dialog.end.profile
  }

  /** Its client has not come here yet from the node that is gone. */
  get away(): boolean {
    return this.lines !== undefined
  }

  /** Goes on in another dialog. */
  take(dialog: LocalDialog): void {
    const word = dialog.invite.get('Vaartha-Mesh')?.trim()
    this.dialog = dialog
    this.aware = word !== undefined
    this.wantsMesh = word === '1'
    this.held = false
    this.resting = undefined
  }

  /** Its client has asked for other media, and got it; false when it only lets its leg rest, as it was asked to. */
  negotiated(streams: readonly Stream[]): boolean {
    if (this.resting !== undefined && streams.every(stream => stream.direction === 'inactive')) return false
    const audio = streams.find(stream => stream.kind === 'audio')
    this.resting = undefined
    this.held = audio?.direction === 'recvonly' || audio?.direction === 'inactive'
    return true
  }

  /** Takes its client's word for whether it can send to the others directly. */
  setMesh(mesh: boolean, isGruu: (uri: string, user: string) => Promise<boolean>): Promise<void> {
    this.aware = true
    this.wantsMesh = mesh
    return this.learnMesh(isGruu)
  }

  /** Looks whether the others can call this very device. */
  async learnMesh(isGruu: (uri: string, user: string) => Promise<boolean>): Promise<void> {
    const could = this.wantsMesh && this.profile === 'webrtc'
    this.mesh = could && (await isGruu(this.dialog.remoteContact, this.person.user))
  }

  /** Lets the media of its leg flow, or rest; false when its client did not take that. `streams` tells what a leg carries. */
  async flow(on: boolean, streams: (leg: string) => Stream[]): Promise<boolean> {
    if (this.away) return false
    const { dialog, resting = streams(dialog.leg) } = this
    this.#rests = !on
    if (on) {
      const worked = await dialog.renegotiate({ streams: resting })
      // Asked to rest again meanwhile, it must still know what to carry after that.
      if (worked && !this.#rests) this.resting = undefined
      return worked
    }
    this.resting = resting
    return dialog.renegotiate({ streams: resting.map(stream => ({ ...stream, direction: 'inactive' })) })
  }

  /** How the roster tells of it. */
  endpoint(aor: string, streams: readonly Stream[]): RosterEndpoint {
    return {
      entity: this.dialog.remoteContact || aor,
      status: this.muted ? 'muted-via-focus' : this.held ? 'on-hold' : 'connected',
      joining: this.joining,
      since: this.since,
      media: streams.map(({ kind, direction }, at) => ({ id: String(at + 1), kind, direction: facing[direction] })),
      member: { id: this.id, mesh: this.mesh, muted: this.muted },
    }
  }

  /** Tells an aware client whom an m-line shows; what changes while it is being told is told next. */
  async show(what: 'tile' | 'slot', mid: string, member: number | null): Promise<void> {
    if (!this.aware || this.away) return
    this.#news[`${what}s`][mid] = member
    if (this.#telling) return
    this.#telling = true
    // What happens in the same moment is told together.
    await Promise.resolve()
    while (!this.dialog.ended && (hasKeys(this.#news.tiles) || hasKeys(this.#news.slots))) {
      const { tiles, slots } = this.#news
      this.#news = { tiles: {}, slots: {} }
      const body = JSON.stringify({ ...(hasKeys(tiles) ? { tiles } : {}), ...(hasKeys(slots) ? { slots } : {}) })
      await this.dialog.send('INFO', { headers: { 'Content-Type': meetingType }, body })
    }
    this.#telling = false
  }
}

/** A member of another node, whose dialog has no media here yet. */
export function goOnAs(id: number, was: MemberSnapshot, dialog: LocalDialog): Participant {
  const one = new Participant(id, was.person, was.joining, dialog, Date.parse(was.since))
  const { muted, held, aware, wantsMesh, mesh, streams: lines } = was
  return Object.assign(one, { muted, held, aware, wantsMesh, mesh, lines })
}

/** The roster tells directions as the participant sees them. */
const facing = { sendrecv: 'sendrecv', sendonly: 'recvonly', recvonly: 'sendonly', inactive: 'inactive' } as const

const hasKeys = (value: object) => Object.keys(value).length > 0
