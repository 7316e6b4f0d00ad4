import { randomBytes } from 'node:crypto'
import { reasonHeader } from '../calls/headers.ts'
import type { LocalDialog } from '../calls/local.ts'
import type { Bus } from '../cluster/bus.ts'
import type { Media } from '../media/media.ts'
import { pressPin } from './keys.ts'

const mostTries = 3
// How long somebody may think before the first and between two tries.
const thinkMs = 30_000
// Wrong PINs of one account, over all its calls, and how long they count.
const mostWrong = 9
const wrongMs = 600_000
const mostRemembered = 1000
const wrongPin = 'group.pin'

export interface LobbyDeps {
  media: Pick<Media, 'play'>
  now(): number
  /** The other nodes count wrong PINs too, so that nobody has as many tries as there are nodes. */
  bus?: Pick<Bus, 'publish' | 'subscribe'> | undefined
}

export interface Lobby {
  /** Resolves with true when the right PIN was typed; with false when the dialog has ended, for wrong PINs or by itself. */
  ask(dialog: LocalDialog, isRight: (pin: string) => Promise<boolean>): Promise<boolean>
  close(): void
}

/** Where those wait who must type a PIN: one beep asks, a busy tone says that it was wrong. */
export function createLobby({ media, now, bus }: LobbyDeps): Lobby {
  const wrong = new Map<string, { count: number; until: number }>()
  const own = randomBytes(8).toString('hex')
  const stop = bus?.subscribe(wrongPin, told => {
    const { by, user } = (told ?? {}) as { by?: unknown; user?: unknown }
    if (by !== own && typeof user === 'string') noteWrong(user)
  })

  function isBanned(user: string): boolean {
    const known = wrong.get(user)
    return known !== undefined && known.until > now() && known.count >= mostWrong
  }

  function noteWrong(user: string): void {
    const known = wrong.get(user)
    const count = known !== undefined && known.until > now() ? known.count + 1 : 1
    if (wrong.size >= mostRemembered) wrong.delete(wrong.keys().next().value!)
    wrong.set(user, { count, until: now() + wrongMs })
  }

  return {
    ask(dialog, isRight) {
      const { user } = dialog.party
      return new Promise(resolve => {
        let typed = ''
        let tries = 0
        // PINs are looked at one after the other.
        let turn = Promise.resolve()
        let timer: NodeJS.Timeout
        const done = (right: boolean) => {
          clearTimeout(timer)
          dialog.off('dtmf', onDigit)
          dialog.off('ended', onEnded)
          resolve(right)
        }
        const onEnded = () => done(false)
        const leave = (why: string) => void dialog.bye(reasonHeader(403, why), why)
        const wait = () => {
          clearTimeout(timer)
          timer = setTimeout(() => leave('no PIN'), thinkMs)
        }
        const tone = (prompt: { count: number } | 'busy') => {
          // Somebody who hangs up in this moment hears nothing any more.
          void media
            .play({ leg: dialog.leg }, prompt)
            .catch((error: unknown) => dialog.log.info({ err: error }, 'no tone'))
        }
        const check = async (pin: string) => {
          const right = !isBanned(user) && (await isRight(pin))
          if (dialog.ended) return
          if (right) return done(true)
          noteWrong(user)
          bus?.publish(wrongPin, { by: own, user })
          tries++
          if (tries >= mostTries) return leave('wrong PIN')
          tone('busy')
          wait()
        }
        const onDigit = ({ digit }: { digit: string }) => {
          wait()
          const next = pressPin(typed, digit)
          typed = next.typed
          const { pin } = next
          if (pin) {
            turn = turn
              .then(() => (dialog.ended ? undefined : check(pin)))
              .catch((error: unknown) => {
                dialog.log.error({ err: error }, 'checking a PIN failed')
                leave('error')
              })
          }
        }
        dialog.on('dtmf', onDigit)
        dialog.on('ended', onEnded)
        wait()
        tone({ count: 1 })
      })
    },
    close: () => stop?.(),
  }
}
