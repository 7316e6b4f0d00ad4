import type { ServerTransaction } from '../transaction/transaction.ts'
import type { Flow } from '../transport/transport.ts'
import { type Meta, texts } from './app.ts'
import type { Dialog } from './dialog.ts'
import type { Ground } from './ground.ts'

// What an application is told beside a message, and what more than one part of the dialog layer needs.

/** The frame data about a received request. */
export function metaOf(transaction: ServerTransaction, dialog: string): Meta {
  const { flow } = transaction
  return {
    source: 'network',
    bytes: transaction.bytes,
    protocol: flow.protocol,
    address: flow.remote.address,
    port: flow.remote.port,
    transaction: transaction.id,
    dialog,
    received: { address: flow.local.address, port: flow.local.port },
    flow: flow.id,
  }
}

/** The frame data about something sent. */
export function sentMeta(transaction: string, flow: Flow, bytes: number): Meta {
  const end = flow.reliable ? flow.remote : flow.local
  return {
    source: 'application',
    bytes,
    protocol: flow.protocol,
    address: end.address,
    port: end.port,
    transaction,
    dialog: '',
  }
}

/** The frame data about a received response. */
export function receivedMeta(transaction: string, dialog: string, flow: Flow, bytes: number): Meta {
  const { protocol, remote } = flow
  return { source: 'network', bytes, protocol, address: remote.address, port: remote.port, transaction, dialog }
}

export const inventedMeta = (transaction: string, dialog: string): Meta => ({
  source: 'network',
  bytes: 0,
  protocol: 'udp',
  address: '',
  port: 0,
  transaction,
  dialog,
})

/** Size of a request before it is built, to choose between UDP and TCP. */
export function estimate(sip: { headers: readonly (readonly [string, string])[]; body: Buffer }): number {
  return sip.headers.reduce((sum, [name, value]) => sum + name.length + value.length + 4, sip.body.length + 350)
}

/** The answer for a request that found no way out: an invented response follows the answer (WIRE-PROTOCOL 9). */
export function failureOf(error: unknown): { status: number } | { text: string } {
  const code = (error as { code?: unknown }).code
  if (code === 'own-address') return { text: texts.myself }
  if (code === 'unsupported-uri-scheme' || code === 'unsupported-transport') return { text: texts.noTransport }
  return { status: code === 'flow-failed' ? 430 : 503 }
}

/** A subscription that nobody ends is forgotten some time after it has run out. */
export function keepSubscription(ground: Ground, dialog: Dialog, expires: string | undefined): void {
  const seconds = Math.min(Number(expires ?? 3600) || 0, 86_400)
  clearTimeout(dialog.expiryTimer)
  dialog.expiryTimer = setTimeout(() => ground.dialogs.end(dialog), seconds * 1000 + ground.timers.timeout)
  dialog.expiryTimer.unref()
}
