import { parseNameAddr } from '../message/message.ts'
import { parseUri } from '../message/uri.ts'
import type { App } from './app.ts'
import type { Ground, Keeper } from './ground.ts'
import { dialogOf, readState, stateOf } from './state.ts'
import type { Uas } from './uas.ts'

/** Dialogs that leave this engine and come to it, as an application wants it. */
export interface Moving {
  /** The state of the application's confirmed dialog of that id as JSON; undefined when there is none. */
  read(app: App, id: string): string | undefined
  /**
   * Makes a dialog known that belongs to `app` from now on; of one that is known already only next hop and target are
   * changed. `via` is its next hop, '' when route set and target decide. Returns why not.
   */
  install(app: App, state: string, via: string): string | undefined
  /** Forgets a dialog without a word to its peer. */
  forget(app: App, id: string): void
}

export function createMoving(ground: Ground, keeper: Keeper, uas: Pick<Uas, 'adopt'>): Moving {
  const { dialogs } = ground

  // The way over this very node, by which another one has reached a phone of ours.
  function withoutOwn(routes: string[]): string[] {
    const first = routes.findIndex(route => {
      const { uri } = parseNameAddr(route)
      return uri === undefined || !ground.isOwn(uri.host, uri.port ?? (uri.scheme === 'sips' ? 5061 : 5060))
    })
    return first < 0 ? [] : routes.slice(first)
  }

  return {
    read(app, id) {
      const dialog = dialogs.byId(id)
      const is = dialog?.app === app && dialog.confirmed && (dialog.kind === 'INVITE' || dialog.kind === 'SUBSCRIBE')
      return is ? JSON.stringify(stateOf(dialog)) : undefined
    },
    install(app, text, viaText) {
      const state = readState(text)
      if (state === undefined) return 'malformed dialog state'
      const via = viaText === '' ? undefined : parseUri(viaText)
      if (viaText !== '' && via === undefined) return 'malformed next hop'
      const known = dialogs.match(state.callId, state.localTag, state.remoteTag)
      if (known && !known.app.closed) {
        if (known.app !== app || !known.confirmed) return 'the dialog lives here already'
        known.via = via
        known.target = state.target
        known.foreignContact = true
        return undefined
      }
      const dialog = dialogOf({ ...state, routes: withoutOwn(state.routes) }, app, ground.noFlow())
      dialog.via = via
      dialogs.add(dialog)
      if (state.session) keeper.resume(dialog, state.session)
      uas.adopt(dialog)
      return undefined
    },
    forget(app, id) {
      const dialog = dialogs.byId(id)
      if (dialog?.app === app) dialogs.end(dialog)
    },
  }
}
