import type { RTCSession } from 'jssip/lib/RTCSession'
import { letServerBegin } from './handshake.ts'
import { pause, reoffer } from './jssip.ts'

/** The server keeps a leg without media for so long. */
export const patienceMs = 30_000

// So long may the first way take.
const firstMs = 5000

export interface MendDeps {
  session: RTCSession
  /** True while requests can be sent. */
  connected(): boolean
  /** `false`: media flows; `true`: it does not, and is being mended. */
  onMending(mending: boolean): void
  /** It could not be mended in time. */
  onLost(): void
}

export interface Mending {
  /** Asks for a restart at once, after the network has changed. */
  restart(): void
  /** Leaves the connection to somebody else. */
  stop(): void
}

/**
 * Mends a call whose media has stopped: by an ICE restart, and where the two cannot reach each other directly, by asking
 * the server to carry the media (`Media-Path: relay`).
 */
export function mend(deps: MendDeps): Mending {
  const { session, connected, onMending, onLost } = deps
  const { connection } = session
  letServerBegin(session)
  const isFine = () => ['connected', 'completed'].includes(connection.iceConnectionState)
  let since = 0
  let ever = isFine()
  let working = false
  let stopped = false

  async function work(): Promise<void> {
    if (working || stopped || session.isEnded()) return
    working = true
    since = Date.now()
    onMending(true)
    // Both ends see it; the one that was called gives the other a head start.
    if (session.direction === 'incoming') await pause(1500)
    for (let n = 0; !stopped && !session.isEnded() && (n === 0 || !isFine()); n++) {
      if (Date.now() - since > patienceMs) {
        onLost()
        break
      }
      if (connected() && navigator.onLine && session.isEstablished()) {
        const relay = !ever || n >= 2
        await reoffer(session, { iceRestart: true, ...(relay ? { headers: ['Media-Path: relay'] } : {}) })
      }
      for (let waited = 0; waited < 4000 && !isFine() && !session.isEnded(); waited += 200) await pause(200)
      if (isFine()) break
    }
    working = false
    if (isFine() && !stopped) onMending(false)
  }

  connection.addEventListener(
    'iceconnectionstatechange',
    event => {
      if (stopped) return
      const state = connection.iceConnectionState
      if (isFine()) {
        ever = true
        if (!working) onMending(false)
      }
      if (state === 'disconnected') setTimeout(() => void (isFine() || work()), 2000)
      // JsSIP, whose own listener comes after this one, would hang up.
      if (state === 'failed') {
        event.stopImmediatePropagation()
        void work()
      }
    },
    { capture: true },
  )
  // Where no candidate of the other's can be reached at all, some browsers never call it failed.
  const late = () => setTimeout(() => void (isFine() || work()), firstMs)
  if (session.isEstablished()) late()
  else session.on('confirmed', late)

  return {
    restart: () => void work(),
    stop() {
      stopped = true
    },
  }
}
