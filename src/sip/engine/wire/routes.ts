// Which application hears of which verb. Round robin over those that asked for it.

export interface Routes<A> {
  /** Asking twice for one verb is asking once: drachtio-srf repeats all its routes whenever a handler is added. */
  add(verb: string, app: A): void
  remove(verb: string, app: A): void
  removeAll(app: A): void
  /** The next application in turn for this verb. */
  next(verb: string): A | undefined
  has(verb: string): boolean
  /** All verbs that somebody asked for, in lower case. */
  verbs(): string[]
}

export function createRoutes<A>(): Routes<A> {
  const table = new Map<string, { apps: A[]; turn: number }>()

  function remove(verb: string, app: A): void {
    const entry = table.get(verb)
    const at = entry?.apps.indexOf(app) ?? -1
    if (!entry || at < 0) return
    entry.apps.splice(at, 1)
    if (entry.apps.length === 0) table.delete(verb)
  }

  return {
    add(verb, app) {
      const entry = table.get(verb)
      if (!entry) table.set(verb, { apps: [app], turn: 0 })
      else if (!entry.apps.includes(app)) entry.apps.push(app)
    },
    remove,
    removeAll(app) {
      for (const verb of [...table.keys()]) remove(verb, app)
    },
    next(verb) {
      const entry = table.get(verb)
      if (!entry) return undefined
      entry.turn = (entry.turn + 1) % entry.apps.length
      return entry.apps[entry.turn]
    },
    has: verb => table.has(verb),
    verbs: () => [...table.keys()],
  }
}
