import { createPhone, type Phone, phoneSdp } from '../../support/phone.ts'
import type { TestServer } from '../../support/server.ts'
import { createUdpPeer, type Peer, type Received, sipResponse, tagIn } from '../../support/sip-peer.ts'

// Registered phones that can be asked for many calls.

export async function registered(server: TestServer, user: string, password: string): Promise<Phone> {
  const { domain, ports } = server
  const peer = await createUdpPeer(ports.sip)
  const phone = createPhone({ peer, user, domain, password })
  const { status } = await phone.register(3600)
  if (status !== 200) throw new Error(`${user} is not registered: ${status}`)
  return phone
}

/** Answers the next call at once; when that was. */
export async function answerAtOnce(peer: Peer): Promise<number> {
  const invite = await peer.request('INVITE', 10_000)
  const when = performance.now()
  peer.send(answerTo(invite, peer))
  await peer.request('ACK', 10_000)
  return when
}

const answerTo = (invite: Received, peer: Peer) =>
  sipResponse(invite, 200, {
    tag: `t${invite.header('Call-ID')}`,
    headers: [`Contact: <sip:phone@127.0.0.1:${peer.port}>`],
    body: phoneSdp(peer.port),
  })

export interface Following {
  /** Re-INVITEs and BYEs that it has answered, and re-INVITEs that would have changed where its media goes to. */
  asked: number
  byes: number
  moved: number
}

/** A phone that answers everything from now on, and talks to the port `to` as soon as it has been asked anything. */
export function follow(peer: Peer, to: number, media: string): Following {
  const seen: Following = { asked: 0, byes: 0, moved: 0 }
  const run = async () => {
    for (;;) {
      const request = await peer.wait(m => m.method !== '', 120_000)
      if (request.method === 'ACK') continue
      peer.turnTo?.(to)
      if (request.method === 'BYE') {
        seen.byes++
        peer.send(sipResponse(request, 200))
        continue
      }
      if (tagIn(request.header('To')) !== '') {
        seen.asked++
        if (request.body !== media) seen.moved++
      }
      peer.send(answerTo(request, peer))
    }
  }
  // Its last wait ends when the peer is closed and the program goes.
  run().catch(() => undefined)
  return seen
}
