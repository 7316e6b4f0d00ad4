import type { Direction, Profile, Stream } from '../media/media.ts'
import { parse } from '../media/sdp/description.ts'
import { profileOf, streamsOf } from '../media/sdp/streams.ts'

// The few looks at SDP that connecting strangers' sessions needs (RFC 3725): an offer made for one phone is shown to
// another. Everything else passes untouched, or is written by the media room.

/** Whether a phone protects its media (RFC 4568). */
export function isSecure(sdp: string): boolean {
  return /^m=audio \d+ RTP\/SAVP/m.test(sdp)
}

/** Whether its sender takes telephone events (RFC 4733). */
export function knowsDigits(sdp: string): boolean {
  return /^a=rtpmap:\d+ telephone-event\//im.test(sdp)
}

const phoneCodecs = new Set(['opus', 'g722', 'pcmu', 'pcma'])

/**
 * The m-lines to offer to somebody for an offer that another has made: the same kinds, directions and codecs, but only
 * one audio line, in a phone's codecs, as soon as one of the two is a phone. Throws Refusal: no SDP 400.
 */
export function likeOffer(offer: string, to: Profile): Stream[] {
  const all = streamsOf(parse(offer)).map(stream => ({ ...stream, direction: mirrored[stream.direction] }))
  if (to === 'webrtc' && profileOf(offer) === 'webrtc') return all
  return all
    .filter(({ kind }) => kind === 'audio')
    .slice(0, 1)
    .map(stream => ({ ...stream, codecs: stream.codecs.filter(codec => phoneCodecs.has(codec.toLowerCase())) }))
}

/** What one end has agreed on, as the other end is to have it: what we hear from the one we say to the other. */
export function towards(agreed: readonly Stream[]): Stream[] {
  return agreed.map(stream => ({ ...stream, direction: mirrored[stream.direction] }))
}

const mirrored: Record<Direction, Direction> = {
  sendrecv: 'sendrecv',
  sendonly: 'recvonly',
  recvonly: 'sendonly',
  inactive: 'inactive',
}

const direction = /^a=(sendrecv|sendonly|recvonly|inactive)\s*$/
const lines = (sdp: string) => sdp.split(/\r?\n/)

/** The same SDP without hold: what a held phone said last must not make its new partner wait in silence. */
export function unheld(sdp: string): string {
  return lines(sdp)
    .map(line => (direction.test(line) ? 'a=sendrecv' : line))
    .join('\r\n')
}

// What tells where media goes and how it is protected; codecs may differ, because an answer is a choice from the offer.
function destination(sdp: string): string {
  return lines(sdp)
    .filter(line => /^(c=|m=|a=(crypto|fingerprint|ice-ufrag|ice-pwd|setup|sendonly|recvonly|inactive))/.test(line))
    .map(line => (line.startsWith('m=') ? line.split(' ', 3).join(' ') : line.trim()))
    .join('\n')
}

/** Whether two descriptions by one phone send its media to the same place in the same way. */
export function sameMedia(one: string, other: string): boolean {
  return destination(one) === destination(other)
}

/**
 * An answer that accepts what is offered and lets nothing flow, for a phone that has to wait for the real offer
 * (RFC 3264 section 6: the same media lines, formats of the offer, direction inactive).
 */
export function waitingAnswer(offer: string): string {
  const [session = '', ...media] = offer.split(/\r?\n(?=m=)/)
  const kept = (part: string) => lines(part).filter(line => !left.test(line) && line !== '')
  const head = kept(session).map(line => (line.startsWith('o=') ? 'o=- 1 1 IN IP4 0.0.0.0' : still(line)))
  const parts = media.map(part => {
    const refused = /^m=\S+ 0 /.test(part)
    const text = kept(part).map(still).join('\r\n')
    return refused ? text : `${text.replace(/^(m=\S+) \d+/, '$1 9')}\r\na=inactive`
  })
  return `${[head.join('\r\n'), ...parts].join('\r\n')}\r\n`
}

const left = /^a=(sendrecv|sendonly|recvonly|inactive|candidate|ice-|rtcp:|ssrc)/

function still(line: string): string {
  if (line.startsWith('c=')) return 'c=IN IP4 0.0.0.0'
  return line.startsWith('a=setup:') ? 'a=setup:passive' : line
}
