/** Who is on the way into a meeting, and the member ids that they get. */
export class Entrance {
  /** By member id, and whether that is because of being rung. */
  readonly #entering = new Map<number, { user: string; rung: boolean }>()
  /** The last member id that was given. */
  last: number

  constructor(last = 0) {
    this.last = last
  }

  get size(): number {
    return this.#entering.size
  }

  /** Somebody is about to come who was not rung. */
  get waits(): boolean {
    return [...this.#entering.values()].some(({ rung }) => !rung)
  }

  has(user: string): boolean {
    return [...this.#entering.values()].some(one => one.user === user && !one.rung)
  }

  reserve(user: string, rung: boolean): number {
    const id = ++this.last
    this.#entering.set(id, { user, rung })
    return id
  }

  leave(id: number): void {
    this.#entering.delete(id)
  }
}
