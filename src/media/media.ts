// The seam of the media room. It speaks SDP texts and ids; what is behind it (mediasoup workers, our own RTP ports, the
// mixer) shows nowhere else.

/** What a client speaks: WebRTC (ICE, DTLS-SRTP, BUNDLE), or RTP as desk phones do, plain or with SDES keys. */
export type Profile = 'webrtc' | 'plain'
export type Kind = 'audio' | 'video'
export type Direction = 'sendrecv' | 'sendonly' | 'recvonly' | 'inactive'

/** What one m-line is to be, as we would write it: `direction` is ours, `codecs` are encoding names, best first. */
export interface Stream {
  kind: Kind
  direction: Direction
  /** `opus`, `G722`, `PCMU`, `PCMA`, `VP8`, `H264` …; empty: whatever we can. */
  codecs: readonly string[]
}

export interface LegWish {
  profile: Profile
  /** The address that the party's signalling comes from: decides which of our addresses its media is sent to. */
  towards: string
  /** The party's SDP offer, when it made one. Without it the leg is offered `streams`. */
  offer?: string | undefined
  /** m-lines to offer, or, with `offer`, what may be accepted of it by kind and order; default: one audio stream. */
  streams?: readonly Stream[] | undefined
  /**
   * The party's last SDP in this dialog, when it had another partner before (a call that moves from the direct way to this
   * server): our first offer to it keeps its m-lines, their order and mids (RFC 3264 section 8, RFC 8829 section 5.2.2). A
   * browser's names no candidates yet, and `offer(leg)` must be sent once more when it has been answered: only then does
   * the browser know our fingerprint.
   */
  after?: string | undefined
  /** Offer SDES keys (RFC 4568) to a plain party; an offer of its own decides by itself. */
  secure?: boolean | undefined
  /** Legs with the same word are put on one worker while it has room: the id of the call or meeting. */
  near?: string | undefined
  /** Called with what happens to this leg until it is released. */
  onEvent?: ((event: LegEvent) => void) | undefined
  /** For logs: the call or group, and who. */
  label?: Record<string, string> | undefined
}

export type LegEvent =
  /** A telephone event (RFC 4733) that has ended, `0`-`9`, `*`, `#`, `A`-`D`; the duration in ms. */
  | { type: 'dtmf'; digit: string; ms: number }
  /** Media flows from the party for the first time, or again. */
  | { type: 'media' }
  /** No media and no ICE consent for `ms`: the owner may end it or wait; a leg is kept for 30 s for who comes back. */
  | { type: 'silent'; ms: number }
  /** Whether the party speaks, with hysteresis. */
  | { type: 'speaking'; on: boolean }
  /** Whom the m-line `mid` shows (video) or carries (audio slots of a meeting) from now on. */
  | { type: 'tile' | 'slot'; mid: string; leg: string | undefined }
  /** What carried the leg has died and was rebuilt: the owner must send `offer(leg)` by re-INVITE. */
  | { type: 'rebuilt' }
  /** There is more to send than was agreed (videos in a meeting): the owner may send `offer(leg)`; all goes on without. */
  | { type: 'more' }
  /** It cannot be carried any more: the party has gone, or, with `carrier`, what carried it. */
  | { type: 'lost'; why: string; carrier?: true }

export interface Media {
  /** Whether calls that need a part of this room can be made now. */
  state(): MediaState
  /** Makes a leg and gives the SDP to send: the answer to `offer`, or an offer of ours. Refuses `not-acceptable-here`, `bad-request`, `media-unavailable`. */
  allocate(wish: LegWish): Promise<{ leg: string; sdp: string }>
  /**
   * The party's answer to our last offer; a plain party's may come twice, in a 183 and then changed in the 200. Refuses
   * `not-acceptable-here` and `bad-request`; the leg keeps what it had.
   */
  answer(leg: string, sdp: string): Promise<void>
  /** A new offer of ours for a leg that is there (re-INVITE): as it is, or changed. */
  offer(leg: string, change?: { streams?: readonly Stream[]; restartIce?: boolean }): Promise<string>
  /** A new offer of the party's (hold, ICE restart, m-lines added or taken away) and our answer. */
  accept(leg: string, offer: string, streams?: readonly Stream[]): Promise<string>
  /** What the last negotiation of the leg has chosen, by m-line. */
  streams(leg: string): Stream[]
  /** Puts a leg into a room, out of the one it was in. */
  join(leg: string, room: string, as?: Membership): Promise<void>
  /** Takes it out; the leg stays and hears nothing. */
  leave(leg: string): Promise<void>
  /** Ends a leg; idempotent. */
  release(leg: string): Promise<void>
  /** Moves a leg to the least loaded worker; its owner gets `rebuilt` when the party must be asked. */
  migrate(leg: string): Promise<void>
  load(): MediaLoad
  /** Opens a room; rooms are closed by `shut` or, if `transient`, when the last leg leaves. */
  open(room: RoomWish): Promise<string>
  shut(room: string): Promise<void>
  /** Plays a prompt once, or until `stop`, to a leg or to everybody in a room. */
  play(to: { leg: string } | { room: string }, prompt: Prompt, options?: { loop?: boolean }): Promise<Playing>
  /** Records a room until the returned function is called; the files are Ogg Opus (RFC 7845). */
  record(room: string, files: RecordingFiles): Promise<() => Promise<RecordedFile[]>>
  close(): Promise<void>
}

export interface Playing {
  /** Resolves when it has ended by itself or by `stop`. */
  done: Promise<void>
  stop(): void
}

/** Tones are made by us; a number is spoken as that many short beeps. */
export type Prompt =
  | 'ringback'
  | 'busy'
  | 'joined'
  | 'left'
  | 'alone'
  | 'recording'
  /** A soft beep now and then, while a recording goes on. */
  | 'still-recording'
  | 'muted'
  | 'unmuted'
  | 'hold'
  | { count: number }

export interface Membership {
  /** Others do not hear it. */
  muted?: boolean
  /** Video of this leg is forwarded, and how many tiles it shows. */
  tiles?: number
  /** How it is shown in a recording's file names. */
  name?: string
}

export interface RoomWish {
  /**
   * `bridge`: two legs, nothing decoded when they share a codec. `meeting`: everybody hears the loudest others.
   * `echo`: everybody hears itself; `delay`: two seconds later.
   */
  kind: 'bridge' | 'meeting' | 'echo' | 'delay'
  transient?: boolean
  onSpeaker?: ((leg: string | undefined) => void) | undefined
  label?: Record<string, string> | undefined
}

export interface RecordingFiles {
  /** Directory that exists; file names begin with `name`. */
  directory: string
  name: string
  perSpeaker: boolean
}

export interface RecordedFile {
  file: string
  /** Empty for the mix. */
  speaker: string
  seconds: number
  bytes: number
}

export interface MediaState {
  /** The SFU worker: browsers talk to phones and in meetings only when it is `ready`. Phones among themselves need none. */
  sfu: 'ready' | 'preparing' | 'unavailable'
  /** In words for people: what is going on, or what to do. */
  why: string
  /** 0..1 while `preparing`, when known. */
  progress?: number
  /** The FreeSWITCH that mixes meetings, where one is configured: without it no new ones begin. */
  mixer?: { on: boolean; why: string }
}

export interface MediaLoad {
  workers: { pid: number; legs: number; cpuSeconds: number }[]
  /** Ports of plain phones, mixes and the CPU seconds of the audio thread. */
  ports: number
  rooms: number
  audioCpuSeconds: number
  packets: { in: number; out: number; dropped: number }
  /** Legs that this node has given to itself and others, and how busy they are (1: all they can carry); in a cluster. */
  nodes?: { node: string; legs: number; busy: number }[]
}
