// Whether the server at the other end of the WebSocket still answers. A server that stands still keeps its connections, and a
// page cannot send WebSocket pings; a double CRLF asks for a single one instead (RFC 7118 section 6, RFC 5626 section 3.5.1).

/** What is sent, and what is answered to it. */
export const question = '\r\n\r\n'

const calm = { everyMs: 10_000, answerMs: 5000 }
/** In a call every second without a server counts; shorter than this a busy machine may well be silent. */
const busy = { everyMs: 2000, answerMs: 4000 }
// A page that slept meanwhile has heard nothing because of that.
const sleptMs = 1000

export interface PulseDeps {
  ask(): void
  /** Somebody is in a call. */
  busy(): boolean
  /** No answer came in time; nothing more is asked. */
  onDead(): void
}

export interface Pulse {
  /** Something came from the server. */
  heard(): void
  /** Asks at once. */
  hurry(): void
  stop(): void
}

/** Asks now and then until it is stopped or the server is dead. */
export function startPulse(deps: PulseDeps): Pulse {
  let timer: ReturnType<typeof setTimeout> | undefined
  let asked: number | undefined
  let rested = 0
  let over = false

  const pace = () => (deps.busy() ? busy : calm)

  function rest(): void {
    asked = undefined
    rested = Date.now()
    wait()
  }

  /** A call may begin at any time. */
  function wait(): void {
    clearTimeout(timer)
    timer = setTimeout(() => (Date.now() - rested >= pace().everyMs ? ask() : wait()), busy.everyMs)
  }

  function ask(): void {
    clearTimeout(timer)
    asked = Date.now()
    const { answerMs } = pace()
    timer = setTimeout(() => look(answerMs), answerMs)
    deps.ask()
  }

  function look(answerMs: number): void {
    if (asked !== undefined && Date.now() - asked > answerMs + sleptMs) return ask()
    over = true
    deps.onDead()
  }

  rest()
  return {
    heard() {
      if (!over && asked !== undefined) rest()
    },
    hurry() {
      if (!over && asked === undefined) ask()
    },
    stop() {
      over = true
      clearTimeout(timer)
    },
  }
}
