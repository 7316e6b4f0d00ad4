import { createHmac, timingSafeEqual } from 'node:crypto'
import type { SipMessage } from '../message/message.ts'
import type { PeerToken } from './peer-token.ts'

// The user part of the Record-Routes and Paths that we write. It holds the flows to either side (RFC 5626 section 5.3)
// and a keyed hash, so that nobody can make us relay by writing a Route of his own.

/** What one of our routes says: the flow that leads on; undefined when the next URI has to be looked up. */
export interface RouteToken {
  flow: string | undefined
  /** The way leads to another of our nodes, whose dialogs may be ours by now. */
  toPeer?: boolean
  /** It was written by another of our nodes. */
  peer?: PeerToken
}

export interface RouteTokens {
  /** For a dialog: the caller's and the callee's flow, '' where none need be used, and which of both is a node of ours. */
  forDialog(request: SipMessage, caller: string, callee: string, peer?: 'caller' | 'callee'): string
  /** For a registration: later requests go by this flow. */
  forPath(flow: string): string
  /** Reads a user part for the message that it came in; undefined when we did not write it for this dialog. */
  read(user: string | undefined, message: SipMessage): RouteToken | undefined
}

const macLength = 16
const kinds = { caller: 'm.', callee: 'o.', neither: 'd.' } as const

export function createRouteTokens(key: Buffer): RouteTokens {
  const mac = (text: string) => createHmac('sha256', key).update(text).digest('base64url').slice(0, macLength)
  const dialogMac = (kind: string, callId: string, tag: string, flows: string) =>
    mac(`${kind[0]} ${callId} ${tag} ${flows}`)

  return {
    forDialog(request, caller, callee, peer) {
      const kind = kinds[peer ?? 'neither']
      const flows = `${caller}.${callee}`
      return `${kind}${dialogMac(kind, request.callId, request.fromTag ?? '', flows)}.${flows}`
    },
    forPath: flow => `p.${mac(`p ${flow}`)}.${flow}`,
    read(user, message) {
      const kind = user?.slice(0, 2)
      if (user === undefined || user.charCodeAt(2 + macLength) !== 0x2e) return undefined
      const given = user.slice(2, 2 + macLength)
      const flows = user.slice(3 + macLength)
      if (kind === 'p.') return same(given, mac(`p ${flows}`)) ? { flow: flows } : undefined
      const dot = flows.indexOf('.')
      // Without a To tag it is no request of the dialog, whatever it says.
      const known = kind === kinds.neither || kind === kinds.caller || kind === kinds.callee
      if (!known || dot === -1 || message.toTag === undefined) return undefined
      // The hash holds the caller's tag, so it also tells which way the request goes.
      if (same(given, dialogMac(kind, message.callId, message.fromTag ?? '', flows))) {
        return { flow: flows.slice(dot + 1) || undefined, toPeer: kind === kinds.callee }
      }
      if (same(given, dialogMac(kind, message.callId, message.toTag ?? '', flows))) {
        return { flow: flows.slice(0, dot) || undefined, toPeer: kind === kinds.caller }
      }
      return undefined
    },
  }
}

function same(a: string, b: string): boolean {
  const [left, right] = [Buffer.from(a, 'latin1'), Buffer.from(b, 'latin1')]
  return left.length === right.length && timingSafeEqual(left, right)
}
