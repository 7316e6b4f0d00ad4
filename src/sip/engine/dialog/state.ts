import type { Protocol } from '../../../events.ts'
import type { DialogState } from '../../dialogs.ts'
import { ParseFailure, parseNameAddr } from '../message/message.ts'
import { parseUri } from '../message/uri.ts'
import type { Flow } from '../transport/transport.ts'
import type { App } from './app.ts'
import { Dialog, dialogId } from './dialog.ts'

// Dialogs as plain JSON, for another node to go on with them.

const mostBytes = 65_536
const mostValue = 4096
const mostRoutes = 32
const mostNumber = 2 ** 31 - 1

// What the dead node may have sent since its state was read, refreshes of its session timer included. RFC 3261 section
// 12.2.2: a number higher by more than one is no error, while a lower one would be refused.
const sequenceGap = 10_000

const protocols = new Set<unknown>(['udp', 'tcp', 'tls', 'ws', 'wss'] satisfies Protocol[])

/** A confirmed dialog of an INVITE or a SUBSCRIBE as it is now. */
export function stateOf(dialog: Dialog): DialogState {
  const { session, flow, localSdp, remoteSequence } = dialog
  return {
    ...(dialog.kind === 'SUBSCRIBE' ? { kind: dialog.kind } : {}),
    id: dialog.id,
    caller: dialog.caller,
    callId: dialog.callId,
    local: dialog.local,
    remote: dialog.remote,
    localTag: dialog.localTag,
    remoteTag: dialog.remoteTag,
    localSequence: dialog.localSequence,
    ...(remoteSequence === undefined ? {} : { remoteSequence }),
    routes: [...dialog.routes],
    target: dialog.target,
    contact: dialog.contact,
    ...(localSdp === undefined ? {} : { localSdp: localSdp.toString() }),
    peerTakesUpdate: dialog.peerTakesUpdate,
    peerKnowsTimer: dialog.peerKnowsTimer,
    ...(session === undefined ? {} : { session: { ...session } }),
    source: { protocol: flow.protocol, ...flow.remote },
  }
}

/** Reads such a state; undefined when it is none, or holds what must not come into a message. */
export function readState(text: string): DialogState | undefined {
  if (text.length > mostBytes) return undefined
  try {
    const state: unknown = JSON.parse(text)
    return isState(state) ? state : undefined
  } catch (error) {
    if (error instanceof SyntaxError || error instanceof ParseFailure) return undefined
    throw error
  }
}

const isObject = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null

/** One line of text in which each character is a byte, as the engine keeps header values. */
function isLine(value: unknown): value is string {
  if (typeof value !== 'string' || value.length > mostValue) return false
  for (let at = 0; at < value.length; at++) {
    const code = value.charCodeAt(at)
    if (code < 0x20 || code === 0x7f || code > 0xff) return false
  }
  return true
}

const isSequence = (value: unknown) =>
  Number.isInteger(value) && (value as number) >= 0 && (value as number) <= mostNumber

function isState(state: unknown): state is DialogState {
  if (!isObject(state)) return false
  const { id, caller, callId, local, remote, localTag, remoteTag, routes, target, contact, session, source } = state
  if (![id, callId, local, remote, localTag, remoteTag, target, contact].every(isLine)) return false
  if (state['kind'] !== undefined && state['kind'] !== 'SUBSCRIBE') return false
  if (typeof caller !== 'boolean' || callId === '' || localTag === '') return false
  if (id !== dialogId(String(callId), String(caller ? localTag : remoteTag))) return false
  if (!isSequence(state['localSequence'])) return false
  if (state['remoteSequence'] !== undefined && !isSequence(state['remoteSequence'])) return false
  if (!Array.isArray(routes) || routes.length > mostRoutes || !routes.every(isLine)) return false
  if (![local, remote, ...routes].every(isAddress) || (contact !== '' && !isAddress(contact))) return false
  if (parseUri(String(target)) === undefined) return false
  if (typeof state['peerTakesUpdate'] !== 'boolean' || typeof state['peerKnowsTimer'] !== 'boolean') return false
  if (state['localSdp'] !== undefined && typeof state['localSdp'] !== 'string') return false
  return (session === undefined || isSession(session)) && isSource(source)
}

// Throws ParseFailure for what is no address at all.
const isAddress = (value: unknown) => parseNameAddr(String(value)).uri !== undefined

function isSession(session: unknown): boolean {
  if (!isObject(session)) return false
  const { interval, refresher } = session
  return Number.isInteger(interval) && (interval as number) > 0 && (refresher === 'local' || refresher === 'remote')
}

function isSource(source: unknown): boolean {
  if (!isObject(source)) return false
  const { protocol, address, port } = source
  return protocols.has(protocol) && isLine(address) && Number.isInteger(port) && (port as number) >= 0
}

/** The dialog of a state, for `app` to go on with; `none` stands in for a flow until the peer has been heard. */
export function dialogOf(state: DialogState, app: App, none: Flow): Dialog {
  const { protocol, address, port } = state.source
  const dialog = new Dialog({
    ...state,
    app,
    kind: state.kind ?? 'INVITE',
    localSequence: Math.min(state.localSequence + sequenceGap, mostNumber),
    remoteSequence: state.remoteSequence,
    flow: { ...none, protocol: protocol as Protocol, remote: { address, port }, reliable: protocol !== 'udp' },
    direct: false,
  })
  dialog.confirmed = true
  dialog.foreignContact = true
  dialog.reached = false
  dialog.repeatable = true
  dialog.localSdp = state.localSdp === undefined ? undefined : Buffer.from(state.localSdp)
  dialog.peerTakesUpdate = state.peerTakesUpdate
  dialog.peerKnowsTimer = state.peerKnowsTimer
  return dialog
}
