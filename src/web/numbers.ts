// The server's SFU sends RTP header extensions under ids of its own, whatever a browser has offered (RFC 8285). A browser that
// offers those ids is told by MID whose picture comes, and its bandwidth is estimated; without, each change of a tile
// takes an offer.

const ids: Record<string, number> = {
  'urn:ietf:params:rtp-hdrext:sdes:mid': 1,
  'urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id': 2,
  'urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id': 3,
  'http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time': 4,
  'http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01': 5,
  'urn:ietf:params:rtp-hdrext:ssrc-audio-level': 6,
}

/** An offer with the server's ids; extensions that the server does not use are left out. */
export function renumber(sdp: string): string {
  const lines = sdp.split('\r\n').flatMap(line => {
    const uri = /^a=extmap:\d+(?:\/\w+)? (\S+)/.exec(line)?.[1]
    if (uri === undefined) return [line]
    return ids[uri] === undefined ? [] : [`a=extmap:${ids[uri]} ${uri}`]
  })
  return lines.join('\r\n')
}

/** Whether it is still open which ids a connection uses, or the server's were agreed (RFC 8285 section 6). */
export function mayRenumber(agreed: string | undefined): boolean {
  return agreed === undefined || renumber(agreed) === agreed
}
