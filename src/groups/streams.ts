import type { Profile, Stream } from '../media/media.ts'

// The m-lines of a participant's leg, by what its client speaks.

const both = (kind: Stream['kind']): Stream => ({ kind, direction: 'sendrecv', codecs: [] })

const mostAudio = 5
const mostVideo = 16
const audio = [both('audio')]
const all = [
  ...Array.from({ length: mostAudio }, () => both('audio')),
  ...Array.from({ length: mostVideo }, () => both('video')),
]

/** What a client may bring: a phone the mix, a browser speaker slots and tiles besides. */
export function mayOffer(profile: Profile): readonly Stream[] {
  return profile === 'webrtc' ? all : audio
}

/** What a client is offered that the meeting calls: the mix. Who wants more asks for it. */
export function weOffer(): readonly Stream[] {
  return audio
}
