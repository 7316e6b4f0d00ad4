import { type Profile, serversCookie } from './profiles.ts'

// Servers as the page reaches them.

const probeMs = 4000

/** The page's own server may be plain HTTP, on this very machine; others are reached by TLS alone. */
export function socketUrl(place: string): string {
  const plain = place === location.host && location.protocol === 'http:'
  return `${plain ? 'ws' : 'wss'}://${place}/sip`
}

/** The server of such a URL. */
export const placeOf = (url: string): string => new URL(url).host

/** Whether a server takes SIP over WebSocket from this page. */
export function probe(place: string): Promise<boolean> {
  return new Promise(resolve => {
    const socket = new WebSocket(socketUrl(place), 'sip')
    const done = (there: boolean) => {
      clearTimeout(timer)
      socket.onopen = socket.onerror = null
      socket.close()
      resolve(there)
    }
    const timer = setTimeout(() => done(false), probeMs)
    socket.onopen = () => done(true)
    socket.onerror = () => done(false)
  })
}

/** Names the servers of all profiles to the page's own one, which writes them into the policy that the page is bound to. */
export function tellServers(profiles: readonly Profile[]): void {
  const value = serversCookie(profiles, location.host)
  const secure = location.protocol === 'https:' ? '; Secure' : ''
  const seconds = value === '' ? 0 : 31_536_000
  // biome-ignore lint/suspicious/noDocumentCookie: the newer interface is not there over plain HTTP.
  document.cookie = `vaartha-servers=${value}; Path=/; SameSite=Strict; Max-Age=${seconds}${secure}`
}
