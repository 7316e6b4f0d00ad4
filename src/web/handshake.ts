import type { RTCSession } from 'jssip/lib/RTCSession'

/**
 * Lets the server begin the DTLS handshake when a call moves to it: whose turn it is, is up to who answers (RFC 5763
 * section 5). A browser would begin at once, over the old way that is dead by then, and tries again only after three seconds.
 */
export function letServerBegin(session: RTCSession): void {
  const { connection } = session
  const create = connection.createAnswer.bind(connection)
  let waits = false
  connection.createAnswer = (async (options?: RTCAnswerOptions) => {
    const { type, sdp = '' } = await create(options)
    const offer = connection.pendingRemoteDescription?.sdp ?? ''
    const before = printOf(connection.currentRemoteDescription?.sdp)
    if (before !== undefined && before !== printOf(offer)) waits = offer.includes('a=ice-lite')
    return { type, sdp: waits ? sdp.replaceAll('a=setup:active', 'a=setup:passive') : sdp }
  }) as typeof connection.createAnswer
  // The association stays as it is, whatever the server says to later offers of ours; a browser would refuse to turn round.
  session.on('sdp', event => {
    if (waits && (event.originator as string) === 'remote' && event.type === 'answer')
      event.sdp = event.sdp.replaceAll('a=setup:passive', 'a=setup:active')
  })
}

function printOf(sdp = ''): string | undefined {
  return /^a=fingerprint:.*$/m.exec(sdp)?.[0]
}
