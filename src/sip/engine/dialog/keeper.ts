import type { SipMessage } from '../message/message.ts'
import type { Flow } from '../transport/transport.ts'
import { contactIn, type Dialog, refreshTarget, requestInDialog } from './dialog.ts'
import type { Ground, Keeper } from './ground.ts'
import { sendAck, sendInDialog } from './in-dialog.ts'
import { acceptedSession, nextStep, type Session } from './session-timer.ts'

// What the engine does in dialogs by itself: refreshing sessions (RFC 4028 section 10) and ending lost calls.

export function createKeeper(ground: Ground): Keeper {
  const { dialogs } = ground

  function keep(dialog: Dialog, session: Dialog['session']): void {
    if (dialog.kind !== 'INVITE') return
    clearTimeout(dialog.refreshTimer)
    clearTimeout(dialog.expiryTimer)
    dialog.session = dialog.ended ? undefined : session
    if (!dialog.session) return
    const { refreshAfter, expireAfter } = nextStep(dialog.session)
    if (refreshAfter !== undefined) refreshLater(dialog, refreshAfter * ground.second)
    expireLater(dialog, expireAfter * ground.second)
  }

  function expireLater(dialog: Dialog, ms: number): void {
    clearTimeout(dialog.expiryTimer)
    dialog.expiryTimer = setTimeout(() => {
      if (ground.mayAct()) hangUp(dialog, 'Session timer expired')
      else expireLater(dialog, ground.second)
    }, ms)
  }

  // Half of the interval may be over since the dead node's last refresh, so ours comes early; not all in one moment.
  function resume(dialog: Dialog, session: Session): void {
    keep(dialog, session)
    const { refreshAfter } = nextStep(session)
    if (refreshAfter !== undefined) refreshLater(dialog, (refreshAfter / 8) * (1 + Math.random()) * ground.second)
  }

  function refreshLater(dialog: Dialog, ms: number): void {
    clearTimeout(dialog.refreshTimer)
    dialog.refreshTimer = setTimeout(() => refresh(dialog), ms)
  }

  function refresh(dialog: Dialog): void {
    if (dialog.ended || !dialog.session) return
    // After a pause the timers of the event loop come before the news of what has become another node's.
    if (!ground.mayAct()) return refreshLater(dialog, ground.second)
    // Somebody's INVITE is under way (section 14.1): it refreshes the session itself, or we come back.
    if (dialog.outgoing || dialog.incoming) {
      refreshLater(dialog, 2000)
      return
    }
    const method = dialog.peerTakesUpdate || !dialog.localSdp ? 'UPDATE' : 'INVITE'
    const message = requestInDialog(dialog, method, ++dialog.localSequence)
    message.append('Supported', 'timer')
    message.append('Session-Expires', `${dialog.session.interval};refresher=uac`)
    message.append('Min-SE', String(ground.minSe))
    if (ground.userAgent !== '') message.append('User-Agent', ground.userAgent)
    if (method === 'INVITE' && dialog.localSdp) {
      message.append('Content-Type', 'application/sdp')
      message.body = dialog.localSdp
    }
    const retry = () => {
      if (method === 'INVITE') dialog.outgoing = undefined
      refreshLater(dialog, ground.second * 2)
    }
    const user = {
      onResponse: (response: SipMessage) => onRefreshed(dialog, message, response),
      onTimeout: () => (dialog.reached ? hangUp(dialog, 'Session timer expired') : retry()),
      onTransportError: retry,
    }
    const complete = (flow: Flow) => message.append('Contact', contactIn(dialog, flow))
    void sendInDialog(ground, dialog, message, user, complete).then(transaction => {
      if (transaction?.invite && !transaction.ended && transaction.status < 200) dialog.outgoing = transaction
    })
  }

  function onRefreshed(dialog: Dialog, message: SipMessage, response: SipMessage): void {
    const { status } = response
    if (status < 200 || dialog.ended) return
    if (status !== 408) dialog.reached = true
    if (message.method === 'INVITE') dialog.outgoing = undefined
    if (status < 300) {
      if (message.method === 'INVITE') acknowledge(dialog, message)
      refreshTarget(dialog, response)
      keep(dialog, acceptedSession(message.get('Session-Expires'), response.get('Session-Expires')))
      return
    }
    if (status === 481 || (status === 408 && dialog.reached)) {
      hangUp(dialog, 'Session timer expired')
      return
    }
    if (status === 422 && dialog.session) {
      const least = Number.parseInt(response.get('Min-SE') ?? '', 10)
      if (least > dialog.session.interval) dialog.session = { ...dialog.session, interval: Math.min(least, 86_400) }
      refreshLater(dialog, 0)
      return
    }
    // Section 14.1: the side that made the Call-ID waits 2.1 to 4 s, the other 0 to 2 s.
    if (status === 491) {
      refreshLater(dialog, dialog.caller ? 2100 + Math.random() * 1900 : Math.random() * 2000)
      return
    }
    if (message.method === 'UPDATE' && dialog.localSdp) {
      dialog.peerTakesUpdate = false
      refreshLater(dialog, 0)
      return
    }
    refreshLater(dialog, ground.second * 2)
  }

  function acknowledge(dialog: Dialog, message: SipMessage): void {
    const sequence = message.cseq.number
    if (dialog.answered?.sequence !== sequence) {
      clearTimeout(dialog.answered?.deadline)
      dialog.answered = { request: message, sequence, cancelled: false }
    }
    void sendAck(ground, dialog, undefined)
  }

  function hangUp(dialog: Dialog, text: string): void {
    if (dialog.ended) return
    const bye = requestInDialog(dialog, 'BYE', ++dialog.localSequence)
    bye.append('Reason', `SIP;cause=200;text="${text}"`)
    if (ground.userAgent !== '') bye.append('User-Agent', ground.userAgent)
    dialogs.end(dialog)
    const reason = text === 'Session timer expired' ? 'session-expired' : 'system-initiated-termination'
    ground.cdr('stop', ['application', reason], bye)
    const { flow } = dialog
    void sendInDialog(ground, dialog, bye, { onResponse: ignore, onTimeout: ignore, onTransportError: ignore }).then(
      sent => {
        const message = sent?.request ?? bye
        if (dialog.app.closed) return
        dialog.app.show(
          {
            source: 'application',
            bytes: message.toBuffer().length,
            protocol: flow.protocol,
            address: flow.local.address,
            port: flow.local.port,
            transaction: 'unsolicited',
            dialog: dialog.id,
          },
          message,
        )
      },
    )
  }

  return { keep, resume, hangUp }
}

function ignore(): void {}
