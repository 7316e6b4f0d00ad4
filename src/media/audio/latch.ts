// Symmetric RTP (RFC 4961) with a guard. A phone behind a NAT sends from another place than its SDP says, so its own
// packets may show where it is; but whoever guesses the port could show himself as well (RTP injection). So a place is
// believed only when it is a better one than what was heard before: any stranger's only for a moment after signalling
// and only as the first, one at the phone's own address later too, and the very one that the SDP names always.

export const latchWindowMs = 3000
const stragglerMs = 500

/** `foreign`: not to be believed. `moved`: from now on packets go there. */
export type Verdict = 'same' | 'moved' | 'foreign'

export interface Latch {
  /** Where packets go now. */
  address: string
  port: number
  /** Signalling, which came from `signalling` if that is known, says that the phone is at this place; opens the window. */
  expect(address: string, port: number, now: number, signalling?: string): void
  /** Judges where a packet came from; `proven` when a key has shown that it is the phone's. */
  judge(address: string, port: number, now: number, proven: boolean): Verdict
}

// How well a place is known to be the phone's.
const nobody = 0
const stranger = 1
const sameHost = 2
const named = 3

export function createLatch(): Latch {
  return new SourceLatch()
}

class SourceLatch implements Latch {
  address = ''
  port = 0
  #expected = { address: '', port: 0 }
  #signalling: string | undefined
  #closesAt = 0
  // Where the phone was until signalling moved it: its last packets are still on their way.
  #former = { address: '', port: 0, until: 0 }
  // The best that was heard since signalling.
  #heard = nobody

  expect(address: string, port: number, now: number, signalling?: string): void {
    const same = address === this.#expected.address && port === this.#expected.port
    this.#expected = { address, port }
    this.#signalling = signalling
    this.#closesAt = now + latchWindowMs
    this.#heard = nobody
    // Signalling that repeats itself does not undo what the phone's own packets have shown.
    if (same) return
    this.#former = { address: this.address, port: this.port, until: now + stragglerMs }
    this.address = address
    this.port = port
  }

  judge(address: string, port: number, now: number, proven: boolean): Verdict {
    const standing = this.#standingOf(address, port)
    const same = address === this.address && port === this.port
    if (!same && !proven && !this.#believes(standing, address, port, now)) return 'foreign'
    if (standing > this.#heard) this.#heard = standing
    if (same) return 'same'
    this.address = address
    this.port = port
    return 'moved'
  }

  #standingOf(address: string, port: number): number {
    if (address === this.#expected.address) return port === this.#expected.port ? named : sameHost
    return address === this.#signalling ? sameHost : stranger
  }

  #believes(standing: number, address: string, port: number, now: number): boolean {
    if (standing === named) return true
    if (address === this.#former.address && port === this.#former.port && now < this.#former.until) return false
    return standing > this.#heard && (standing === sameHost || now < this.#closesAt)
  }
}
