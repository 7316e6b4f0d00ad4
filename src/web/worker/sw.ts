// Keeps the phone's own files, so that it opens without a network, and brings a ringing phone to the front.

// Makes this a module, in which the global may be told more exactly.
export {}

declare const self: ServiceWorkerGlobalScope

// Both are filled in by build.mjs.
const shell = '%SHELL%' as unknown as string[]
const version = '%VERSION%'

self.addEventListener('install', event => {
  event.waitUntil(
    caches
      .open(version)
      .then(cache => cache.addAll(shell))
      .then(() => self.skipWaiting()),
  )
})

self.addEventListener('activate', event => {
  const clear = async () => {
    for (const name of await caches.keys()) if (name !== version) await caches.delete(name)
    await self.clients.claim()
  }
  event.waitUntil(clear())
})

self.addEventListener('fetch', event => {
  const { request } = event
  const url = new URL(request.url)
  if (request.method !== 'GET' || url.origin !== self.location.origin) return
  // The page itself comes from the server while there is one: its policy header names the servers of the profiles.
  if (request.mode === 'navigate' && (url.pathname === '/' || url.pathname === '/join'))
    event.respondWith(page(request))
  else if (shell.includes(url.pathname)) event.respondWith(file(request))
})

async function page(request: Request): Promise<Response> {
  try {
    const answer = await fetch(request)
    if (answer.ok) await (await caches.open(version)).put('/', answer.clone())
    return answer
  } catch (error) {
    const kept = await caches.match('/')
    if (kept === undefined) throw error
    return kept
  }
}

async function file(request: Request): Promise<Response> {
  return (await caches.match(request)) ?? fetch(request)
}

self.addEventListener('notificationclick', event => {
  event.notification.close()
  const show = async () => {
    const [open] = await self.clients.matchAll({ type: 'window', includeUncontrolled: true })
    await (open === undefined ? self.clients.openWindow('/') : open.focus())
  }
  event.waitUntil(show())
})
