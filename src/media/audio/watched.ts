import type { Libc } from './libc.ts'
import type { DirectMediaSocket } from './media-socket.ts'

// The sockets that a sleeping thread reads at its beat. The system is asked once for all which of them have something
// (poll(2)): half of them are for control packets, which seldom come, and a call for each costs as much as its mixing.

// `struct pollfd`: the number of the socket, what is asked for, what there is.
const entryBytes = 8
const POLLIN = 1
// In one pass; each pass takes twice as much of a socket as the one before. In all 255, so that a stranger who floods one
// port can not hold the beat of all.
const mostAtOnce = 128

export interface Watched {
  add(socket: DirectMediaSocket): void
  delete(socket: DirectMediaSocket): void
  /** Takes what has come, of a flood the first part, and says how many datagrams. */
  read(): number
}

export function createWatched(libc: Libc): Watched {
  const sockets = new Set<DirectMediaSocket>()
  let order: DirectMediaSocket[] | undefined
  let entries = Buffer.allocUnsafeSlow(0)

  function list(): DirectMediaSocket[] {
    const now = [...sockets]
    entries = Buffer.allocUnsafeSlow(now.length * entryBytes)
    for (const [i, { fd }] of now.entries()) {
      entries.writeInt32LE(fd, i * entryBytes)
      entries.writeInt16LE(POLLIN, i * entryBytes + 4)
    }
    return now
  }

  function pass(most: number): number {
    order ??= list()
    // Who takes a packet may add and delete sockets: this pass is one over those that were asked.
    const [asked, answers] = [order, entries]
    if (asked.length === 0 || libc.poll(answers, asked.length) <= 0) return 0
    let count = 0
    for (let i = 0; i < asked.length; i++) {
      // Errors too: they are told by the socket.
      if (answers[i * entryBytes + 6] !== 0) count += asked[i]!.read(most)
    }
    return count
  }

  return {
    add(socket) {
      sockets.add(socket)
      order = undefined
    },
    delete(socket) {
      sockets.delete(socket)
      order = undefined
    },
    read() {
      let count = 0
      for (let most = 1; most <= mostAtOnce; most *= 2) {
        const found = pass(most)
        if (found === 0) break
        count += found
      }
      return count
    },
  }
}
