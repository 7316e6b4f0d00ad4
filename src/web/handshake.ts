/**
 * Lets the server begin the DTLS handshake when a call moves to it (RFC 5763 section 5 leaves the choice to who answers).
 * A browser would begin at once, over the old way that is dead by then, and tries again only after three seconds.
 */
export function letServerBegin(connection: RTCPeerConnection): void {
  const create = connection.createAnswer.bind(connection)
  connection.createAnswer = (async (options?: RTCAnswerOptions) => {
    const answer = await create(options)
    const offer = connection.pendingRemoteDescription?.sdp ?? ''
    const moves = offer.includes('a=ice-lite') && printOf(offer) !== printOf(connection.currentRemoteDescription?.sdp)
    return moves ? { type: answer.type, sdp: answer.sdp?.replaceAll('a=setup:active', 'a=setup:passive') } : answer
  }) as typeof connection.createAnswer
}

function printOf(sdp = ''): string | undefined {
  return /^a=fingerprint:.*$/m.exec(sdp)?.[0]
}
