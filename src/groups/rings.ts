import type { Person } from './person.ts'

/** Who is being rung for a meeting. */
export class Rings {
  readonly #rings = new Map<string, { person: Person; abort: AbortController }>()

  get people(): Person[] {
    return Array.from(this.#rings.values(), ({ person }) => person)
  }

  get size(): number {
    return this.#rings.size
  }

  /** The signal says when not to ring any more. Undefined: that one is being rung already. */
  add(person: Person): AbortSignal | undefined {
    if (this.#rings.has(person.user)) return undefined
    const abort = new AbortController()
    this.#rings.set(person.user, { person, abort })
    return abort.signal
  }

  /** False when that one was not rung. */
  stop(user: string): boolean {
    const one = this.#rings.get(user)
    this.#rings.delete(user)
    one?.abort.abort()
    return one !== undefined
  }

  clear(): void {
    for (const user of [...this.#rings.keys()]) this.stop(user)
  }
}
