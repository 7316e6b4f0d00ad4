import type { Logger } from '../log.ts'
import type { Bus } from './bus.ts'
import { createDesk, readAnswer, unavailable } from './desk.ts'

/** The bus of one node by itself: what it says it hears, and the only one that it can ask is itself. */
export function createLocalBus({ node, log }: { node: string; log: Logger }): Bus {
  const desk = createDesk(log)
  return {
    publish: (subject, fact) => queueMicrotask(() => desk.deliver(subject, fact, node)),
    async keep(subject, id, fact) {
      desk.deliver(subject, fact, node, id)
    },
    subscribe: desk.subscribe,
    async ask(to, verb, question) {
      if (to !== node) throw unavailable(to, 'is not there')
      return readAnswer(await desk.handle(verb, question, node))
    },
    answer: desk.answer,
    healthy: () => true,
    why: () => '',
    close: async () => {},
  }
}
