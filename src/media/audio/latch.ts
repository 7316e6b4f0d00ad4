// Symmetric RTP (RFC 4961) with a guard. A phone behind a NAT sends from another place than its SDP says, so its own
// packets may show where it is; but whoever guesses the port could show himself as well (RTP injection), so that is
// believed only for a moment after signalling, and only once.

export const latchWindowMs = 3000
const stragglerMs = 500

/** `foreign`: not to be believed. `moved`: from now on packets go there. */
export type Verdict = 'same' | 'moved' | 'foreign'

export interface Latch {
  /** Where packets go now. */
  address: string
  port: number
  /** Signalling says that the phone is at this place; opens the window. */
  expect(address: string, port: number, now: number): void
  /** Judges where a packet came from; `proven` when a key has shown that it is the phone's. */
  judge(address: string, port: number, now: number, proven: boolean): Verdict
}

export function createLatch(): Latch {
  let [expectedAddress, expectedPort, closesAt] = ['', 0, 0]
  // Where the phone was until signalling moved it: its last packets are still on their way.
  let [formerAddress, formerPort, formerUntil] = ['', 0, 0]
  // Whether the expected place or, for want of it, another has been heard since `expect`.
  let heard = false
  let late = false
  return {
    address: '',
    port: 0,
    expect(address, port, now) {
      const same = address === expectedAddress && port === expectedPort
      ;[expectedAddress, expectedPort, closesAt] = [address, port, now + latchWindowMs]
      heard = false
      late = false
      // Signalling that repeats itself does not undo what the phone's own packets have shown.
      if (same) return
      ;[formerAddress, formerPort, formerUntil] = [this.address, this.port, now + stragglerMs]
      ;[this.address, this.port] = [address, port]
    },
    judge(address, port, now, proven) {
      const expected = address === expectedAddress && port === expectedPort
      if (address === this.address && port === this.port) {
        if (expected) heard = true
        late = true
        return 'same'
      }
      if (!expected && !proven) {
        if (address === formerAddress && port === formerPort && now < formerUntil) return 'foreign'
        // Past the window another port of the same host may still be the first that is heard at all.
        const allowed = now < closesAt ? !heard : !late && address === expectedAddress
        if (!allowed) return 'foreign'
      }
      heard = true
      late = true
      ;[this.address, this.port] = [address, port]
      return 'moved'
    },
  }
}
