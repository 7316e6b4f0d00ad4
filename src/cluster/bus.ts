// The seam between nodes: facts for whoever listens, and questions that one node answers.

/** Plain JSON. */
export type Json = null | boolean | number | string | Json[] | { [key: string]: Json }

export interface Bus {
  /** Tells everybody who listens now, ourselves included; nobody waits. Dropped, and counted, while the bus is away. */
  publish(subject: string, fact: Json): void
  /**
   * Tells a fact that must not be lost: kept by the bus until every node has it (JetStream), or, without a bus that keeps,
   * repeated by us until it is out, at most `mostKept` of them. A listener may see it twice and goes by `id`.
   */
  keep(subject: string, id: string, fact: Json): Promise<void>
  /** `*` stands for one word of a subject, `>` for the rest. The returned function ends it. */
  subscribe(pattern: string, listener: (subject: string, fact: Json, from: string) => void): () => void
  /** Asks one node. Refuses `node-unavailable` when it has not answered in time or is not there; its Refusals come through. */
  ask(node: string, verb: string, question: Json, timeoutMs?: number): Promise<Json>
  /** Answers such questions; what it throws goes back to who asked. One listener a verb. */
  answer(verb: string, how: (question: Json, from: string) => Promise<Json>): () => void
  healthy(): boolean
  /** Why not, in words for people. */
  why(): string
  close(): Promise<void>
}
