import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import type { Incoming, Reply, SrfPort } from '../../../src/calls/sip.ts'
import { Board } from '../../../src/groups/board.ts'
import type { RosterState } from '../../../src/groups/roster.ts'
import { createSilentLog } from '../../../src/log.ts'
import { type EngineUnderTest, startEngineUnderTest } from '../../support/engine.ts'
import { applyDocument, type SeenRoster } from '../../support/roster.ts'
import {
  createUdpPeer,
  type Peer,
  type Received,
  sipRequest,
  sipResponse,
  tagIn,
  unique,
} from '../../support/sip-peer.ts'

// Subscriptions over a real engine: a peer subscribes, and answers each NOTIFY or does not.

const roster = (more: Partial<RosterState> = {}): RosterState => ({
  entity: 'sip:family@example.org',
  displayName: 'Family',
  most: 10,
  locked: false,
  users: [],
  ...more,
})

let under: EngineUnderTest
let board: Board
let idle = 0

before(async () => {
  under = await startEngineUnderTest()
  board = new Board(
    {
      srf: under.srf as unknown as SrfPort,
      log: createSilentLog(),
      contact: '<sip:family@localhost>;isfocus',
      onIdle: () => idle++,
    },
    roster(),
  )
  const srf = under.srf as unknown as {
    subscribe(handler: (req: Incoming, res: Reply & { send(status: number): void }) => void): void
  }
  srf.subscribe((req, res) => {
    try {
      board.subscribe(req, res, 'mum')
    } catch {
      res.send(503)
    }
  })
})
after(async () => {
  board.close('deactivated')
  await under.close()
})

class Watcher {
  readonly peer: Peer
  readonly callId = unique()
  seen: SeenRoster | undefined
  state = ''
  theirs = ''
  target = ''
  #sequence = 0

  constructor(peer: Peer) {
    this.peer = peer
  }

  async subscribe(expires = 600): Promise<Received> {
    const sequence = ++this.#sequence
    this.peer.send(
      sipRequest({
        method: 'SUBSCRIBE',
        uri: this.target || 'sip:family@example.org',
        peer: this.peer,
        callId: this.callId,
        sequence,
        ...(this.theirs === '' ? {} : { toTag: this.theirs }),
        headers: ['Event: conference', `Expires: ${expires}`],
      }),
    )
    const answer = await this.peer.wait(m => m.status >= 200 && m.header('CSeq') === `${sequence} SUBSCRIBE`)
    this.theirs = tagIn(answer.header('To'))
    this.target = /<([^>]*)>/.exec(answer.header('Contact'))?.[1] ?? this.target
    return answer
  }

  /** Takes the next NOTIFY and answers it. */
  async told(status = 200): Promise<Received> {
    const notify = await this.peer.request('NOTIFY')
    this.peer.send(sipResponse(notify, status))
    this.state = notify.header('Subscription-State')
    if (status === 200 && notify.body !== '') this.seen = applyDocument(this.seen, notify.body)
    return notify
  }
}

const watch = async () => new Watcher(await createUdpPeer(under.udp))
const noDialogs = async () => {
  const until = Date.now() + 3000
  while (under.engine.stats().dialogs > 0) {
    assert.ok(Date.now() < until, JSON.stringify(under.engine.stats()))
    await new Promise(resolve => setTimeout(resolve, 5))
  }
}

test('a subscriber gets the whole roster, then each change in order, until it has enough', async () => {
  const watcher = await watch()
  const ok = await watcher.subscribe()
  assert.equal(ok.status, 200)
  assert.equal(ok.header('Expires'), '600')
  assert.match(ok.header('Contact'), /<sip:family@127\.0\.0\.1:\d+>;isfocus/)
  const first = await watcher.told()
  assert.match(watcher.state, /^active;expires=\d+$/)
  assert.equal(first.header('Content-Type'), 'application/conference-info+xml')
  assert.equal(watcher.seen?.active, false)
  board.show(() => roster({ locked: true }), 'now')
  board.show(() => roster({ locked: true, meeting: { id: 'm', recording: false, adHoc: false } }), 'now')
  await watcher.told()
  assert.equal(watcher.seen?.locked, true)
  assert.equal(watcher.seen.active, false)
  await watcher.told()
  assert.equal(watcher.seen.active, true)
  assert.equal((await watcher.subscribe(0)).header('Expires'), '0')
  await watcher.told()
  assert.equal(watcher.state, 'terminated;reason=timeout')
  assert.equal(board.subscriptions, 0)
  assert.equal(idle, 1)
  await noDialogs()
  watcher.peer.close()
})

test('what changes in the same moment is told together', async () => {
  const watcher = await watch()
  await watcher.subscribe()
  await watcher.told()
  for (let speaker = 1; speaker < 50; speaker++) board.show(() => roster({ speaker }), 'speaker')
  board.show(() => roster({ speaker: 50, locked: true }), 'soon')
  await watcher.told()
  assert.equal(watcher.seen?.speaker, '50')
  await watcher.subscribe(0)
  await watcher.told()
  watcher.peer.close()
})

test('a refresh brings the whole roster again, also to who was slow', async () => {
  const watcher = await watch()
  await watcher.subscribe()
  const waiting = await watcher.peer.request('NOTIFY')
  for (let speaker = 100; speaker < 150; speaker++) board.show(() => roster({ speaker }), 'now')
  watcher.peer.send(sipResponse(waiting, 200))
  watcher.seen = applyDocument(undefined, waiting.body)
  // More than is kept has happened, so the next document is whole.
  const next = await watcher.told()
  assert.match(next.body, /state="full" version/)
  assert.equal(watcher.seen.speaker, '149')
  await watcher.subscribe()
  assert.match((await watcher.told()).body, /state="full" version/)
  await watcher.subscribe(0)
  await watcher.told()
  watcher.peer.close()
})

test('who refuses a NOTIFY is told nothing more', async () => {
  const watcher = await watch()
  await watcher.subscribe()
  await watcher.told(481)
  await noDialogs()
  assert.equal(board.subscriptions, 0)
  watcher.peer.close()
})

test('one account has a few subscriptions and no more, and the end is told to all', async () => {
  const watchers = await Promise.all(Array.from({ length: 9 }, watch))
  for (const watcher of watchers.slice(0, 8)) {
    assert.equal((await watcher.subscribe()).status, 200)
    await watcher.told()
  }
  assert.equal((await watchers[8]!.subscribe()).status, 503)
  board.close('noresource')
  for (const watcher of watchers.slice(0, 8)) {
    await watcher.told()
    assert.equal(watcher.state, 'terminated;reason=noresource')
  }
  await noDialogs()
  for (const watcher of watchers) watcher.peer.close()
})
