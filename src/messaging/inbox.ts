import { Refusal } from '../errors.ts'
import type { Message } from './message.ts'

// The seam to where messages are until their people have them. Each is either being sent by one life of a node, or kept
// until its person registers. What a dead life was sending is adopted.

export interface Inbox {
  /**
   * Writes a message that is about to be sent, or that is kept. `known`: this request was here before; the status that it
   * was answered, 0 when it was not yet. Refuses `store-unavailable`, and holds nothing then; and `temporarily-unavailable` when it is full.
   */
  hold(message: Message, kept: boolean): Promise<'held' | { known: number }>
  /** A further device has it. Never rejects. */
  note(message: Message): Promise<void>
  /** It has arrived, or will not: forgets it, and remembers the answer. Never rejects; without its store it is done later. */
  end(message: Message, status: number): Promise<void>
  /** It was not taken and stays; false when there is no room for it. Never rejects. */
  leave(message: Message): Promise<boolean>
  /** The oldest of a person's kept ones with higher ids, now sent by us; `busy` while another life sends some. Refuses `store-unavailable`. */
  take(user: string, after: string, most: number): Promise<Message[] | 'busy'>
  /** What this life, or each that is over, was sending is kept; whose that is. Refuses `store-unavailable`. */
  adopt(life?: string): Promise<string[]>
  /** Drops what has ended. Refuses `store-unavailable`. */
  tidy(): Promise<void>
  /** How many messages are kept, by person; what other nodes keep is here a moment later. */
  readonly counts: ReadonlyMap<string, number>
  /** Calls `listener` when another node keeps something for who was not there. */
  onKept(listener: (user: string) => void): void
  close(): void
}

/** How long a request is remembered, in ms, and how many for one person. */
export const rememberMs = 600_000
export const mostRemembered = 256

/** There is no room for one more; `Warning` says so to the sender. */
export function full(): Refusal {
  return new Refusal('temporarily-unavailable', 'The inbox is full', {
    headers: { Warning: '399 vaartha "Inbox full"' },
  })
}
