import type { Headers, Message } from './sip.ts'

// Our web phone hears within the dialog whether its call is recorded, and asks for that in the same way: an INFO with a
// package of our own (RFC 6086), which only who has named it in Recv-Info gets.

/** Name of the Info Package. */
export const recordingPackage = 'x-vaartha-recording'

/** What its bodies say, as JSON. */
export interface RecordingNews {
  recording: boolean
  /** Why what was asked for was not done: the code of a Refusal. */
  refused?: string
}

/** A leg, as far as it can be told. */
interface Listener {
  readonly isWebPhone: boolean
  readonly ended: boolean
  readonly replaced: boolean
  send(method: string, options: { headers: Headers; body: string }): Promise<unknown>
}

/** Tells this leg, if it wants to know. */
export function tellRecording(leg: Listener, news: RecordingNews): void {
  if (!leg.isWebPhone || leg.ended || leg.replaced) return
  const headers: Headers = { 'Info-Package': recordingPackage, 'Content-Type': 'application/json' }
  void leg.send('INFO', { headers, body: JSON.stringify(news) })
}

/** Whether an INFO asks to begin (true) or end (false) the recording; undefined when it is about something else. */
export function readRecordingWish(request: Message): boolean | undefined {
  if ((request.get('Info-Package') ?? '').trim().toLowerCase() !== recordingPackage) return undefined
  return /"recording"\s*:\s*true/.test((request.body ?? '').slice(0, 200))
}
