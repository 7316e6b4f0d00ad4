import type { Logger } from '../../../log.ts'
import type { SipMessage } from '../message/message.ts'
import type { Uri } from '../message/uri.ts'
import type { Timers } from '../transaction/timers.ts'
import type { TransactionLayer } from '../transaction/transaction.ts'
import type { Flow } from '../transport/transport.ts'
import type { CdrEvent } from './app.ts'
import type { Dialog } from './dialog.ts'
import type { Dialogs } from './dialogs.ts'
import type { Session } from './session-timer.ts'

/** What every part of the dialog layer stands on. */
export interface Ground {
  transactions: TransactionLayer
  /** `pinned`: an application gave this next hop, so that its parameter `fl` may choose the flow. */
  flowFor(uri: Uri, bytes: number, pinned?: boolean): Flow | Promise<Flow>
  /** The Route that makes the node which a next hop names send this request by its own flow; undefined: none is named. */
  routeBy(hop: Uri, request: SipMessage): string | undefined
  isOwn(host: string, port: number): boolean
  dialogs: Dialogs
  timers: Timers
  /** Stands in for a flow when none could be had, so that an application can be shown what would have been sent. */
  noFlow(): Flow
  /** Text of Server and User-Agent; empty for none. */
  userAgent: string
  /** Shortest session in seconds. */
  minSe: number
  /** Length of a second of session timers in milliseconds; tests shorten it. */
  second: number
  /** False while another node may have taken our dialogs over: timers then do nothing of their own. */
  mayAct(): boolean
  cdr(event: CdrEvent, fields: string[], message: SipMessage): void
  log: Logger
}

/** What the engine does in a dialog by itself. */
export interface Keeper {
  /** Starts, restarts or ends (undefined) the session timer. */
  keep(dialog: Dialog, session: Dialog['session']): void
  /** Goes on with the session timer of another node, of which nobody knows how much has passed. */
  resume(dialog: Dialog, session: Session): void
  /** Sends BYE, tells the application and forgets the dialog. `text` goes into Reason and to the application. */
  hangUp(dialog: Dialog, text: string): void
}
