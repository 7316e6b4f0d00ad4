import type { ConferenceEvent, Endpoint } from 'drachtio-fsmrf'
import type { Logger } from '../log.ts'

/** A channel of the FreeSWITCH, whose sound comes and goes by RTP. */
export interface FarEnd {
  /** Its answer to our offer. */
  readonly sdp: string
  join(conference: string, as: { muted: boolean; onSpeaking: (on: boolean) => void }): Promise<void>
  mute(muted: boolean): Promise<void>
  hangUp(): Promise<void>
}

/** What drachtio-fsmrf must be told to pass on. */
export const maintenance = 'conference::maintenance'
// A conference profile without sounds, if the FreeSWITCH has one; without it the conference has its built-in defaults.
const conferenceProfile = 'vaartha'

export type Within = <T>(work: Promise<T>, late?: (result: T) => unknown) => Promise<T>

/** Waits `ms` for an answer, for the library may wait for ever; what comes too late is given to `late`, to be ended. */
export function createWithin(ms: number, log: Logger): Within {
  return async (work, late) => {
    const { promise, reject } = Promise.withResolvers<never>()
    let over = false
    const timeout = setTimeout(() => {
      over = true
      reject(new Error(`no answer in ${ms} ms`))
    }, ms).unref()
    work
      .then(result => over && late?.(result))
      .catch(error => over && log.debug({ err: error }, 'FreeSWITCH was too late'))
    try {
      return await Promise.race([work, promise])
    } finally {
      clearTimeout(timeout)
    }
  }
}

/** One call to a FreeSWITCH; until it ends, whoever is in `calls` can say that it has. */
export function farEnd(
  endpoint: Endpoint,
  deps: { calls: Set<(why: string) => void>; within: Within; log: Logger },
  onGone: (why: string) => void,
): FarEnd {
  const { calls, within, log } = deps
  const gone = (why: string) => {
    if (calls.delete(gone)) onGone(why)
  }
  calls.add(gone)
  endpoint.on('destroy', () => gone('the FreeSWITCH has ended a call'))
  endpoint.dialog.on('destroy', () => gone('the FreeSWITCH has ended a call'))
  return {
    sdp: endpoint.dialog.remote.sdp,
    async join(conference, { muted, onSpeaking }) {
      endpoint.on(maintenance, (_body: unknown, event: ConferenceEvent) => {
        const action = event.getHeader('Action')
        if (action === 'start-talking' || action === 'stop-talking') onSpeaking(action === 'start-talking')
      })
      await within(endpoint.join(conference, { profile: conferenceProfile, flags: { mute: muted } }))
    },
    async mute(muted) {
      await within(muted ? endpoint.confMute() : endpoint.confUnmute())
    },
    async hangUp() {
      calls.delete(gone)
      // Who does not answer a BYE any more has ended the call too.
      await within(endpoint.dialog.destroy()).catch(error => log.debug({ err: error }, 'no answer to a BYE'))
      endpoint.conn?.disconnect()
    },
  }
}
