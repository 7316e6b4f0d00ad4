// Calls shown by the system while the page is in the background.

export function mayNotify(): boolean {
  return 'Notification' in window && Notification.permission === 'granted'
}

/** Asks for leave; has to come from a click. */
export async function askToNotify(): Promise<boolean> {
  return 'Notification' in window && (await Notification.requestPermission()) === 'granted'
}

/** Shows who calls until the returned function is called. */
export function notify(title: string, body: string): () => void {
  if (!mayNotify()) return () => {}
  let shown: Notification | undefined
  let gone = false
  const tag = 'vaartha-call'
  const options = { body, tag, icon: '/icon-192.png', requireInteraction: true }
  // Android knows only those of a service worker, others both.
  const worker = navigator.serviceWorker?.controller ? navigator.serviceWorker.ready : undefined
  if (worker === undefined) {
    shown = new Notification(title, options)
    shown.onclick = () => window.focus()
  } else void worker.then(async registration => void (gone || (await registration.showNotification(title, options))))
  return () => {
    gone = true
    shown?.close()
    void worker?.then(async registration => {
      for (const one of await registration.getNotifications({ tag })) one.close()
    })
  }
}
