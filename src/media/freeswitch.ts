import type { Socket } from 'node:net'
import type { MediaServer } from 'drachtio-fsmrf'
import { Refusal } from '../errors.ts'
import type { Events } from '../events.ts'
import type { Logger } from '../log.ts'
import { createWithin, type FarEnd, farEnd, maintenance } from './freeswitch-call.ts'
import { type FreeSwitchPlace, probeFreeSwitch, sipProfile } from './freeswitch-probe.ts'
import type { MixerState } from './mixer.ts'

// The one place that imports drachtio-fsmrf: its connection to a FreeSWITCH.

export interface FreeSwitch {
  state(): MixerState
  /** Our address in its sight. */
  address(): string
  /** Calls it with our offer; `onGone` when that call ends other than by `hangUp`. Refuses `media-unavailable`. */
  call(sdp: string, onGone: (why: string) => void): Promise<FarEnd>
  close(): Promise<void>
}

export interface FreeSwitchDeps extends FreeSwitchPlace {
  srf: object
  events: Events
  log: Logger
  times?: FreeSwitchTimes
}

export interface FreeSwitchTimes {
  /** Between two attempts, at first and at most. */
  firstMs: number
  mostMs: number
  /** Between two looks at whether it still answers, and how long it may take to answer anything. */
  lookMs: number
  answerMs: number
}

const usualTimes: FreeSwitchTimes = { firstMs: 1000, mostMs: 30_000, lookMs: 10_000, answerMs: 5000 }

interface Connected {
  server: MediaServer
  local: string
  /** Who is told when it goes. */
  calls: Set<(why: string) => void>
}

/** Connects to a FreeSWITCH, and again with growing pauses when it is away. Throws a Refusal `bad-config` without a secret. */
export function createFreeSwitch(deps: FreeSwitchDeps): FreeSwitch {
  const { host, port, secret, srf, events, log } = deps
  const { firstMs, mostMs, lookMs, answerMs } = deps.times ?? usualTimes
  if (secret === '') {
    throw new Refusal(
      'bad-config',
      'media.freeswitch.secret is empty; put the password of the FreeSWITCH’s event socket there, or set media.mixer to embedded',
    )
  }
  let connected: Connected | undefined
  let why = 'connecting'
  let pauseMs = firstMs
  let timer: NodeJS.Timeout | undefined
  let closed = false
  const ending = new AbortController()
  const within = createWithin(answerMs, log)

  const tell = (text: string) => {
    const on = connected !== undefined
    if (text === why && !on) return
    why = text
    events.emit('mixerChanged', { on, why })
    if (on) log.info({ host, port }, 'FreeSWITCH mixes meetings')
    else log.warn({ host, port, why }, 'FreeSWITCH is away: new meetings are refused')
  }

  async function connect(): Promise<Connected> {
    const { local, remote } = await probeFreeSwitch({ host, port, secret }, { ms: answerMs, signal: ending.signal })
    const { default: Mrf } = await import('drachtio-fsmrf')
    const mrf = new Mrf(srf, { customEvents: [maintenance] })
    const connecting = mrf.connect({ address: host, port, secret, listenAddress: local, profile: sipProfile })
    const server = await within(connecting, late => late.disconnect())
    onlyFrom(server, remote, log)
    return { server, local, calls: new Set() }
  }

  function lost(gone: Connected, text: string): void {
    if (connected !== gone) return
    connected = undefined
    gone.server.disconnect()
    if (!closed) tell(text)
    for (const call of gone.calls) call(text)
    gone.calls.clear()
    again()
  }

  async function attempt(): Promise<void> {
    try {
      const made = await connect()
      if (closed) return made.server.disconnect()
      connected = made
      pauseMs = firstMs
      // Before its own listener, which would try again by itself and write to the console.
      made.server.conn.prependListener('esl::end', () => lost(made, 'the FreeSWITCH has closed the connection'))
      tell(`FreeSWITCH at ${host}:${port}`)
      watch(made)
    } catch (error) {
      if (!closed) tell((error as Error).message)
      again()
    }
  }

  function again(): void {
    clearTimeout(timer)
    if (closed) return
    timer = setTimeout(() => void attempt(), pauseMs).unref()
    pauseMs = Math.min(2 * pauseMs, mostMs)
  }

  // A machine that has lost its power closes no connection.
  function watch(made: Connected): void {
    timer = setTimeout(() => {
      within(made.server.api('status')).then(
        () => connected === made && watch(made),
        () => lost(made, 'the FreeSWITCH does not answer any more'),
      )
    }, lookMs).unref()
  }

  void attempt()

  return {
    state: () => ({ on: connected !== undefined, why }),
    address: () => there().local,
    async call(sdp, onGone) {
      const { server, calls } = there()
      try {
        const endpoint = await within(server.createEndpoint({ remoteSdp: sdp }), late => late.dialog.destroy())
        return farEnd(endpoint, { calls, within, log }, onGone)
      } catch (error) {
        throw new Refusal('media-unavailable', `FreeSWITCH takes no call: ${(error as Error).message}`, {
          cause: error,
        })
      }
    },
    async close() {
      closed = true
      clearTimeout(timer)
      ending.abort()
      if (connected !== undefined) lost(connected, 'the server is ending')
    },
  }

  function there(): Connected {
    if (connected === undefined) throw new Refusal('media-unavailable', why)
    return connected
  }
}

/**
 * FreeSWITCH connects to us for each channel, to a port that others may find too, and the library takes whoever comes for it.
 */
function onlyFrom(server: MediaServer, address: string, log: Logger): void {
  server._server.server.prependListener('connection', socket => {
    if (socket.remoteAddress === address) contain(socket, log)
    else socket.destroy()
  })
  contain(server.conn.socket, log)
}

/** The library throws while it reads, at a stray per cent sign for one: that ends the connection, and not this process. */
function contain(socket: Socket, log: Logger): void {
  const emit = socket.emit.bind(socket) as (...args: unknown[]) => boolean
  socket.emit = (...args: unknown[]) => {
    try {
      return emit(...args)
    } catch (error) {
      log.warn({ err: error }, 'what came from FreeSWITCH could not be read')
      socket.destroy()
      return true
    }
  }
}
