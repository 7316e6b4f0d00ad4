import assert from 'node:assert/strict'
import { after, beforeEach, describe, it } from 'node:test'
import { Refusal } from '../../src/errors.ts'
import type { Inbox } from '../../src/messaging/inbox.ts'
import type { Message } from '../../src/messaging/message.ts'

/** A place for inboxes, and a clock that a test sets. */
export interface InboxPlace {
  /** The inbox of one life of a node, which keeps 3 messages for a person. */
  open(life: string): Promise<Inbox>
  setTime(ms: number): void
  kill(life: string): void
  /** Whether several lives have it open at once. */
  shared: boolean
  close(): Promise<void>
}

const began = Date.UTC(2026, 0, 1)
let numbers = 0

export function someMessage(user: string, body: string, more: Partial<Message> = {}): Message {
  const at = more.at ?? began
  const id = `${at.toString(36).padStart(9, '0')}-${String(++numbers).padStart(8, '0')}`
  const from = { user: 'mum', displayName: 'Mum', hidden: false }
  const headers = { 'Content-Type': 'text/plain' }
  const rest = { from, to: `sip:${user}@home.test`, headers, body, at, ends: began + 60_000, cseq: 1, reached: [] }
  return { id, user, key: `key ${id}`.replace(/ /g, '-'), ...rest, ...more }
}

export async function untilTrue(isSo: () => boolean, ms = 20_000): Promise<void> {
  for (const late = performance.now() + ms; !isSo(); await new Promise(resolve => setImmediate(resolve))) {
    if (performance.now() > late) throw new Error('it has not become so in time')
  }
}

const bodies = (found: Message[] | 'busy') => (found === 'busy' ? found : found.map(({ body }) => body))

export function describeInbox(name: string, start: () => Promise<InboxPlace>): void {
  describe(`inbox: ${name}`, () => {
    let place: InboxPlace | undefined
    let user = ''
    const opened: Inbox[] = []
    const open = async (life: string) => {
      place ??= await start()
      const inbox = await place.open(life)
      opened.push(inbox)
      return inbox
    }
    beforeEach(() => {
      user = `user${++numbers}`
      place?.setTime(began)
    })
    after(async () => {
      for (const inbox of opened) inbox.close()
      await place?.close()
    })

    it('gives what is kept, oldest first, and forgets what has arrived', async () => {
      const inbox = await open(`a-${user}`)
      const messages = ['one', 'two', 'three'].map((body, n) => someMessage(user, body, { at: began + n }))
      for (const message of messages.toReversed()) assert.equal(await inbox.hold(message, true), 'held')
      assert.equal(inbox.counts.get(user), 3)
      const [first, second] = (await inbox.take(user, '', 2)) as Message[]
      assert.deepEqual([first, second], messages.slice(0, 2))
      await inbox.end(first!, 200)
      assert.equal(await inbox.leave(second!), true)
      assert.equal(inbox.counts.get(user), 2)
      assert.deepEqual(bodies(await inbox.take(user, second!.id, 9)), ['three'])
      assert.deepEqual(bodies(await inbox.take(user, '', 9)), ['two'])
      assert.deepEqual(bodies(await inbox.take(`${user}x`, '', 9)), [])
    })

    it('knows a repetition while it is not answered, and by its CSeq after that', async () => {
      const inbox = await open(`a-${user}`)
      const message = someMessage(user, 'once', { key: `k${user}` })
      const again = (cseq: number) => inbox.hold({ ...someMessage(user, 'once'), key: `k${user}`, cseq }, false)
      assert.equal(await inbox.hold(message, false), 'held')
      assert.equal(inbox.counts.has(user), false)
      assert.deepEqual(await again(1), { known: 0 })
      assert.deepEqual(await again(3), { known: 0 })
      await inbox.end(message, 200)
      assert.deepEqual(await again(1), { known: 200 })
      assert.equal(await again(3), 'held')
      place!.setTime(began + 700_000)
      assert.equal(await again(3), 'held')
    })

    it('keeps so many for a person and no more, and makes room of what has ended', async () => {
      const inbox = await open(`a-${user}`)
      const sent = someMessage(user, 'sent')
      await inbox.hold(sent, false)
      for (const body of ['one', 'two', 'three']) await inbox.hold(someMessage(user, body), true)
      const isFull = (error: unknown) => error instanceof Refusal && error.code === 'temporarily-unavailable'
      await assert.rejects(inbox.hold(someMessage(user, 'four'), true), isFull)
      assert.equal(await inbox.leave(sent), false)
      assert.deepEqual(bodies(await inbox.take(user, '', 9)), ['one', 'two', 'three'])
      place!.setTime(began + 60_001)
      const more = await open(`b-${user}`)
      place!.kill(`a-${user}`)
      assert.deepEqual(await more.adopt(`a-${user}`), [user])
      assert.equal(await more.hold(someMessage(user, 'new', { ends: began + 90_000 }), true), 'held')
      assert.deepEqual(bodies(await more.take(user, '', 9)), ['new'])
      assert.equal(more.counts.get(user), 1)
    })

    it('drops what nobody has come for in time', async () => {
      const inbox = await open(`c-${user}`)
      await inbox.hold(someMessage(user, 'short'), true)
      await inbox.hold(someMessage(user, 'long', { ends: began + 900_000 }), true)
      place!.setTime(began + 60_000)
      // A second time is as good as one.
      for (let n = 0; n < 2; n++) await inbox.tidy()
      assert.equal(inbox.counts.get(user), 1)
      assert.deepEqual(bodies(await inbox.take(user, '', 9)), ['long'])
    })

    it('lets a life go on with what another one was sending, with the devices that have it', async () => {
      const inbox = await open(`d-${user}`)
      const flying = someMessage(user, 'flying')
      await inbox.hold(flying, false)
      await inbox.hold(someMessage(user, 'kept', { at: began + 1 }), true)
      flying.reached.push('urn:phone')
      await inbox.note(flying)
      const heir = await open(`e-${user}`)
      place!.kill(`d-${user}`)
      assert.ok((await heir.adopt()).includes(user))
      assert.deepEqual(await heir.adopt(), [])
      const found = (await heir.take(user, '', 9)) as Message[]
      assert.deepEqual(bodies(found), ['flying', 'kept'])
      assert.deepEqual(found[0]!.reached, ['urn:phone'])
      assert.equal(heir.counts.get(user), 2)
      for (const message of found) await heir.end(message, 200)
      assert.equal(heir.counts.has(user), false)
    })

    it('gives nothing while another life sends something, and none of it to two', async () => {
      const one = await open(`f-${user}`)
      const other = await open(`g-${user}`)
      if (!place!.shared) return
      await one.hold(someMessage(user, 'flying'), false)
      await other.hold(someMessage(user, 'kept'), true)
      assert.equal(await other.take(user, '', 9), 'busy')
      await untilTrue(() => one.counts.get(user) === 1)
      for (let race = 0; race < 200; race++) {
        const name = `${user}-${race}`
        await one.hold(someMessage(name, 'raced'), true)
        const both = await Promise.all([one.take(name, '', 9), other.take(name, '', 9)])
        assert.equal(both.flatMap(found => (found === 'busy' ? [] : found)).length, 1)
      }
      // A life that was too long away changes nothing of what another one has taken since.
      const late = someMessage(`${user}z`, 'late')
      await one.hold(late, false)
      place!.kill(`f-${user}`)
      await other.adopt(`f-${user}`)
      await one.end(late, 200)
      assert.deepEqual(bodies(await other.take(`${user}z`, '', 9)), ['late'])
    })
  })
}
