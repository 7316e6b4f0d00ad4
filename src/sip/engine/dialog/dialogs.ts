import type { App } from './app.ts'
import { type Dialog, dialogKey } from './dialog.ts'

/** All dialogs, found by the peer's tags or by the admin protocol's id. */
export interface Dialogs {
  add(dialog: Dialog): void
  /** By what a message of the peer says; tags as seen from us. */
  match(callId: string, localTag: string, remoteTag: string): Dialog | undefined
  /** By id. Of several early dialogs of one INVITE the confirmed one, else the newest. */
  byId(id: string): Dialog | undefined
  /** All of one id. */
  fork(id: string): readonly Dialog[]
  /** Forgets a dialog and stops everything that waits in it. */
  end(dialog: Dialog): void
  ofApp(app: App): Dialog[]
  readonly size: number
  close(): void
}

export function createDialogs(): Dialogs {
  const byKey = new Map<string, Dialog>()
  const byId = new Map<string, Dialog[]>()

  function end(dialog: Dialog): void {
    if (dialog.ended) return
    dialog.ended = true
    clearTimeout(dialog.refreshTimer)
    clearTimeout(dialog.expiryTimer)
    clearTimeout(dialog.answered?.deadline)
    dialog.reliable?.stop()
    for (const waiting of dialog.unacknowledged.values()) waiting.stop()
    dialog.unacknowledged.clear()
    if (byKey.get(dialog.key) === dialog) byKey.delete(dialog.key)
    const left = (byId.get(dialog.id) ?? []).filter(other => other !== dialog)
    if (left.length === 0) byId.delete(dialog.id)
    else byId.set(dialog.id, left)
  }

  return {
    add(dialog) {
      const before = byKey.get(dialog.key)
      if (before) end(before)
      byKey.set(dialog.key, dialog)
      byId.set(dialog.id, [...(byId.get(dialog.id) ?? []), dialog])
    },
    match: (callId, localTag, remoteTag) => byKey.get(dialogKey(callId, localTag, remoteTag)),
    byId(id) {
      const all = byId.get(id)
      return all && (all.find(dialog => dialog.confirmed) ?? all[all.length - 1])
    },
    fork: id => byId.get(id) ?? [],
    end,
    ofApp: app => [...byKey.values()].filter(dialog => dialog.app === app),
    get size() {
      return byKey.size
    },
    close() {
      for (const dialog of [...byKey.values()]) end(dialog)
    },
  }
}
