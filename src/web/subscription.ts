import type { Subscriber } from 'jssip/lib/Subscriber'
import { applyDocument, emptyRoster, type Roster } from './roster.ts'
import type { Sip } from './sip.ts'

const type = 'application/conference-info+xml'
const seconds = 600
const againMs = 700

/** Follows the roster of a meeting until `close`; subscribes anew when that breaks or a version was missed. */
export function followRoster(deps: { sip(): Sip | undefined; address: string; onRoster(roster: Roster): void }): {
  renew(): void
  close(): void
} {
  const { sip, address, onRoster } = deps
  let roster = emptyRoster
  let subscriber: Subscriber | undefined
  let timer: ReturnType<typeof setTimeout> | undefined
  let closed = false

  function subscribe(): void {
    clearTimeout(timer)
    const line = sip()
    if (closed) return
    if (line === undefined || !line.registered()) {
      timer = setTimeout(subscribe, againMs)
      return
    }
    const own = line.ua.subscribe(address, 'conference', type, { expires: seconds })
    subscriber = own
    roster = emptyRoster
    own.on('notify', (_final, _request, body, contentType) => {
      if (subscriber === own && body && contentType?.toLowerCase().startsWith(type)) read(body)
    })
    own.on('terminated', () => {
      if (subscriber !== own || closed) return
      subscriber = undefined
      timer = setTimeout(subscribe, againMs)
    })
    own.subscribe()
  }

  function read(body: string): void {
    const document = new DOMParser().parseFromString(body, 'application/xml').documentElement
    if (document.localName !== 'conference-info') return
    const next = applyDocument(roster, document)
    // A version was missed: a refresh brings a whole document.
    if (next === undefined) return subscriber?.subscribe()
    roster = next
    onRoster(roster)
  }

  function leave(): void {
    const own = subscriber
    subscriber = undefined
    if (own !== undefined && sip()?.connected()) own.terminate()
  }

  subscribe()
  return {
    renew() {
      leave()
      subscribe()
    },
    close() {
      closed = true
      clearTimeout(timer)
      leave()
    },
  }
}
