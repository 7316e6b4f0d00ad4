import { randomBytes, randomUUID } from 'node:crypto'
import type { Limits } from '../config/schema.ts'
import { Refusal } from '../errors.ts'
import { createRequest, createResponse, type SipMessage, unquote } from '../sip/engine/message/message.ts'
import { formatHost } from '../sip/engine/message/uri.ts'
import { type Flow, openFlow } from './flow.ts'
import { createLine, describeIn, inDialog, type Line, type OwnLine } from './line.ts'
import { prove } from './proof.ts'
import { openStream } from './stream.ts'

/** A phone of the program itself: it registers at several nodes as one device (RFC 5626), calls, and answers at once. */
export interface TestPhone {
  readonly user: string
  /** Connects to a node, unless it is, and registers there. Refuses `flow-failed`, `request-timeout`, `unauthorized`. */
  register(place: string, regId: number, ms: number): Promise<void>
  /** The connection of that registration. */
  flow(regId: number): Flow | undefined
  /** Calls by that registration's node. Refuses `temporarily-unavailable` with what came in place of an answer, or as `Flow.ask`. */
  call(user: string, regId: number, ms: number): Promise<Line>
  /** The call that came from the line with this mark. */
  answered(mark: Buffer): Line | undefined
  /** Hangs up what is left, and closes. */
  leave(): Promise<void>
  close(): void
}

export interface TestPhoneDeps {
  user: string
  password: string
  domain: string
  limits: Limits
}

interface Registration {
  place: string
  flow: Flow
  callId: string
  sequence: number
  /** Contact value of its dialogs. */
  contact: string
}

const expires = 600
const leaveMs = 2000
const token = () => randomBytes(8).toString('hex')

export function createTestPhone({ user, password, domain, limits }: TestPhoneDeps): TestPhone {
  const aor = `sip:${user}@${domain}`
  const instance = `"<urn:uuid:${randomUUID()}>"`
  const registrations = new Map<number, Registration>()
  const lines = new Map<string, OwnLine>()
  const flows = () => [...registrations.values()].map(one => one.flow)
  let closed = false

  function onRequest(request: SipMessage, flow: Flow): void {
    const line = lines.get(`${request.callId} ${request.toTag ?? ''}`)
    if (line !== undefined) return line.take(request, flow)
    if (request.method === 'ACK') return
    if (request.method === 'INVITE' && request.toTag === undefined) return void answer(request, flow)
    // A CANCEL comes too late, since everything is answered at once; what else is asked for needs no more than a yes.
    flow.send(createResponse(request, request.toTag === undefined || request.method === 'CANCEL' ? 200 : 481))
  }

  async function answer(request: SipMessage, flow: Flow): Promise<void> {
    const registration = [...registrations.values()].find(one => one.flow === flow)
    const [peer] = request.contacts === '*' ? [] : request.contacts
    if (registration === undefined || peer === undefined || closed) return flow.send(createResponse(request, 480))
    const localTag = token()
    const to = `${request.get('To')};tag=${localTag}`
    const dialog = {
      ...{ callId: request.callId, from: to, to: request.get('From') ?? '' },
      ...{ target: peer.uriText, routes: request.getAll('Record-Route'), contact: registration.contact, sequence: 0 },
    }
    const line = createLine(dialog, await openStream(flow.address), flow, flows)
    lines.set(`${dialog.callId} ${localTag}`, line)
    if (request.body.length > 0) line.hear(request.body.toString())
    const response = createResponse(request, 200)
    response.set('To', to)
    for (const route of dialog.routes) response.append('Record-Route', route)
    response.append('Contact', dialog.contact)
    describeIn(response, line.describe())
    flow.send(response)
  }

  /** Sends a request outside dialogs, and once more with a proof where one is wanted. */
  async function ask(make: () => SipMessage, flow: Flow, ms: number): Promise<[SipMessage, SipMessage]> {
    const first = make()
    const challenge = await flow.ask(first, ms)
    if (challenge.status !== 401 && challenge.status !== 407) return [first, challenge]
    if (first.method === 'INVITE') acknowledge(first, challenge, flow)
    const second = make()
    second.append(...prove(challenge, second, { user, password }))
    return [second, await flow.ask(second, ms)]
  }

  async function register(place: string, regId: number, ms: number): Promise<void> {
    let own = registrations.get(regId)
    if (own === undefined || !own.flow.open || own.place !== place) {
      own?.flow.close()
      const flow = await openFlow(place, limits, ms, onRequest)
      if (closed) return flow.close()
      own = { place, flow, callId: token(), sequence: 0, contact: '' }
      registrations.set(regId, own)
    }
    const { flow, callId } = own
    const contact = `sip:${user}@${formatHost(flow.address)}:${flow.port};transport=tcp`
    const tag = token()
    const make = () => {
      const request = createRequest('REGISTER', `sip:${domain}`)
      request.append('Max-Forwards', '70')
      request.append('From', `<${aor}>;tag=${tag}`)
      request.append('To', `<${aor}>`)
      request.append('Call-ID', callId)
      request.append('CSeq', `${++own.sequence} REGISTER`)
      request.append('Contact', `<${contact}>;+sip.instance=${instance};reg-id=${regId}`)
      request.append('Supported', 'outbound, path, gruu')
      request.append('Expires', String(expires))
      return request
    }
    const [, answered] = await ask(make, flow, ms)
    if (answered.status !== 200) throw refused('REGISTER', answered)
    const all = answered.contacts === '*' ? [] : answered.contacts
    // With its GRUU as Contact it is the same device at every node (RFC 5627 section 4.4).
    const gruu = all.find(one => one.uriText === contact)?.params.get('pub-gruu')
    own.contact = `<${gruu === undefined ? contact : unquote(gruu)}>`
  }

  async function call(other: string, regId: number, ms: number): Promise<Line> {
    const own = registrations.get(regId)
    if (own === undefined) throw new Refusal('flow-failed', `${user} is not registered there`)
    const uri = `sip:${other}@${domain}`
    const localTag = token()
    const dialog = {
      ...{ callId: token(), from: `<${aor}>;tag=${localTag}`, to: `<${uri}>`, target: uri },
      ...{ routes: [] as readonly string[], contact: own.contact, sequence: 0 },
    }
    const line = createLine(dialog, await openStream(own.flow.address), own.flow, flows)
    try {
      const make = () => {
        const request = inDialog('INVITE', dialog)
        request.append('Contact', dialog.contact)
        request.append('Supported', 'gruu, outbound')
        describeIn(request, line.describe())
        return request
      }
      const [invite, answered] = await ask(make, own.flow, ms)
      if (answered.status >= 300) {
        acknowledge(invite, answered, own.flow)
        throw refused('INVITE', answered)
      }
      dialog.to = answered.get('To') ?? ''
      dialog.routes = answered.getAll('Record-Route').toReversed()
      const [peer] = answered.contacts === '*' ? [] : answered.contacts
      dialog.target = peer?.uriText ?? uri
      lines.set(`${dialog.callId} ${localTag}`, line)
      own.flow.send(inDialog('ACK', dialog))
      line.hear(answered.body.toString())
      return line
    } catch (error) {
      line.close()
      throw error
    }
  }

  async function leave(): Promise<void> {
    const left = [...lines.values()].filter(line => !line.ended)
    // Who cannot be reached is left to the session timer.
    await Promise.allSettled(left.map(line => line.hangUp(leaveMs)))
    close()
  }

  function close(): void {
    closed = true
    for (const line of lines.values()) line.close()
    for (const flow of flows()) flow.close()
  }

  return {
    user,
    register,
    leave,
    close,
    call,
    flow: regId => registrations.get(regId)?.flow,
    answered: mark => [...lines.values()].find(line => line.far === mark.toString('hex')),
  }
}

/** The ACK for an answer that is no 200: part of its INVITE's transaction, so it has the same Via (RFC 3261 section 17.1.1.3). */
function acknowledge(invite: SipMessage, answered: SipMessage, flow: Flow): void {
  const ack = createRequest('ACK', invite.uri)
  ack.append('Via', invite.get('Via') ?? '')
  ack.append('Max-Forwards', '70')
  for (const name of ['From', 'Call-ID'] as const) ack.append(name, invite.get(name) ?? '')
  ack.append('To', answered.get('To') ?? '')
  ack.append('CSeq', `${invite.cseq.number} ACK`)
  flow.send(ack)
}

function refused(method: string, { status, reason }: SipMessage): Refusal {
  return new Refusal(
    status === 401 || status === 407 ? 'unauthorized' : 'temporarily-unavailable',
    `${method} was answered ${status} ${reason}`,
  )
}
