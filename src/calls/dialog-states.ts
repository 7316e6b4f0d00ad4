import type { DialogState } from '../sip/dialogs.ts'
import { acceptedSession, grantSession } from '../sip/engine/dialog/session-timer.ts'
import { bytes, parseNameAddr } from '../sip/engine/message/message.ts'
import { splitList } from '../sip/engine/message/syntax.ts'
import { names, tagOf } from './headers.ts'
import type { Answering } from './opening.ts'
import type { Message, Response } from './sip.ts'

// What the engine knows of the two dialogs of a call in the moment of its answer. All of it stands in messages that passed
// here, so the caller need not wait until the engine was asked.

/** The caller's dialog as our 200 is about to make it (RFC 3261 section 12.1.1). */
export function callerState({ req, caller, headers }: Answering): DialogState {
  const knowsTimer = names(req, 'Supported', 'timer')
  const asked = knowsTimer ? req.get('Session-Expires') : undefined
  const session = grantSession(asked, knowsTimer, headers['Session-Expires'], 0)?.session
  return {
    id: caller.id,
    caller: false,
    callId: req.get('Call-ID') ?? '',
    local: bytes(`${req.get('To')};tag=${caller.toTag}`),
    remote: bytes(req.get('From') ?? ''),
    localTag: caller.toTag,
    remoteTag: tagOf(req.get('From')),
    localSequence: 0,
    remoteSequence: sequenceOf(req),
    routes: routesOf(req),
    target: contactOf(req) ?? addressIn(req.get('From')) ?? '',
    contact: '',
    ...(caller.localSdp === '' ? {} : { localSdp: caller.localSdp }),
    ...peerOf(req),
    ...(session === undefined ? {} : { session }),
    source: sourceOf(req),
  }
}

/** The callee's dialog as its 2xx to the INVITE that was `sent` has made it (section 12.1.2). */
export function calleeState(id: string, sent: Message, response: Response): DialogState {
  const session = acceptedSession(sent.get('Session-Expires'), response.get('Session-Expires'))
  return {
    id,
    caller: true,
    callId: sent.get('Call-ID') ?? '',
    local: bytes(sent.get('From') ?? ''),
    remote: bytes(response.get('To') ?? ''),
    localTag: tagOf(sent.get('From')),
    remoteTag: tagOf(response.get('To')),
    localSequence: sequenceOf(sent),
    routes: routesOf(response).reverse(),
    target: contactOf(response) ?? '',
    contact: bytes(sent.get('Contact') ?? ''),
    ...(sent.body ? { localSdp: sent.body } : {}),
    ...peerOf(response),
    ...(session === undefined ? {} : { session }),
    source: sourceOf(response),
  }
}

const sequenceOf = (message: Message) => Number.parseInt(message.get('CSeq') ?? '', 10)

const routesOf = (message: Message) => splitList(bytes(message.get('Record-Route') ?? '')).filter(route => route !== '')

function peerOf(message: Message): Pick<DialogState, 'peerTakesUpdate' | 'peerKnowsTimer'> {
  return {
    peerTakesUpdate: names(message, 'Allow', 'UPDATE'),
    peerKnowsTimer: names(message, 'Supported', 'timer') || message.has('Session-Expires'),
  }
}

const contactOf = (message: Message) => addressIn(splitList(message.get('Contact') ?? '')[0])

/** The URI of a name-addr or addr-spec; the engine has let no malformed one come here. */
function addressIn(value: string | undefined): string | undefined {
  return value ? parseNameAddr(bytes(value)).uriText : undefined
}

function sourceOf(message: Pick<Response, 'protocol' | 'source_address' | 'source_port'>): DialogState['source'] {
  return { protocol: message.protocol, address: message.source_address, port: Number(message.source_port) }
}
