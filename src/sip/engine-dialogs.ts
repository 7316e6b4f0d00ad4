import type Srf from 'drachtio-srf'
import { Refusal } from '../errors.ts'
import { agentOf, type EngineSocket } from './agent.ts'
import type { DialogState, EngineDialogs } from './dialogs.ts'

// The verbs that only our engine knows, over srf's own connection: a dialog belongs to the connection that installs it.

/** `version` is what the engine said of itself; undefined when it has no such verbs, as no drachtio-server has. */
export function createEngineDialogs(srf: Srf, version: string): EngineDialogs | undefined {
  if (!version.endsWith('+dialogs')) return undefined
  // srf forgets the requests of a lost connection without telling who asked.
  const waiting = new WeakMap<EngineSocket, Set<() => void>>()

  function waitersOf(socket: EngineSocket): Set<() => void> {
    let waiters = waiting.get(socket)
    if (waiters === undefined) {
      const made = new Set<() => void>()
      waiting.set(socket, made)
      socket.once('close', () => {
        for (const lost of made) lost()
      })
      waiters = made
    }
    return waiters
  }

  function ask(leader: string, body = ''): Promise<{ ok: boolean; text: string; rest: string }> {
    const agent = agentOf(srf)
    const [socket, connection] = agent?.mapServer.entries().next().value ?? []
    if (!agent?.wp || !socket || !connection?.authenticated) return Promise.reject(unavailable())
    if (/[\r\n]/.test(leader)) return Promise.reject(new Refusal('bad-request', 'no line break may be in it'))
    const { wp } = agent
    const waiters = waitersOf(socket)
    return new Promise((resolve, reject) => {
      const lost = () => reject(unavailable())
      waiters.add(lost)
      const id = wp.send(socket, body === '' ? leader : `${leader}\r\n${body}`)
      connection.pendingRequests.set(id, ([verdict, text = ''], rest = '') => {
        waiters.delete(lost)
        resolve({ ok: verdict === 'OK', text, rest })
      })
    })
  }

  return {
    async read(id) {
      const { ok, rest } = await ask(`dialog_read|${id}`)
      return ok ? (JSON.parse(rest) as DialogState) : undefined
    },
    async install(state, via = '') {
      const { ok, text } = await ask(`dialog_install|${via}`, JSON.stringify(state))
      if (!ok) throw new Refusal('bad-request', `the SIP engine takes no such dialog: ${text}`)
    },
    async forget(id) {
      await ask(`dialog_forget|${id}`)
    },
  }
}

const unavailable = () => new Refusal('server-error', 'no connection to the SIP engine')
