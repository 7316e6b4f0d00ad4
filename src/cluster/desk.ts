import { listRefusals, Refusal, type RefusalCode } from '../errors.ts'
import type { Logger } from '../log.ts'
import type { Bus, Json } from './bus.ts'

// What all buses have in common: who listens to which subjects, and who answers what.

/** What a question came to, as it travels. */
export type Answer = { answer: Json } | { code: RefusalCode; message: string }

// Ids of kept facts that were heard already; older ones do not come again.
const mostIds = 10_000

export type Desk = ReturnType<typeof createDesk>

export function createDesk(log: Logger) {
  const listeners = new Map<(subject: string, fact: Json, from: string) => void, RegExp>()
  const answers = new Map<string, (question: Json, from: string) => Promise<Json>>()
  const heard = new Set<string>()

  const subscribe: Bus['subscribe'] = (pattern, listener) => {
    const own = (subject: string, fact: Json, from: string) => listener(subject, fact, from)
    listeners.set(own, matcher(pattern))
    return () => listeners.delete(own)
  }
  const answer: Bus['answer'] = (verb, how) => {
    answers.set(verb, how)
    return () => {
      if (answers.get(verb) === how) answers.delete(verb)
    }
  }

  return {
    subscribe,
    answer,
    /** Tells the listeners; a kept fact once by its id. What a listener throws is its own bug and harms no other. */
    deliver(subject: string, fact: Json, from: string, id?: string): void {
      if (id !== undefined) {
        if (heard.has(id)) return
        heard.add(id)
        if (heard.size > mostIds) heard.delete(heard.values().next().value!)
      }
      for (const [listener, pattern] of [...listeners]) {
        if (!pattern.test(subject)) continue
        try {
          listener(subject, fact, from)
        } catch (error) {
          log.error({ err: error, subject }, 'failed to take in a fact')
        }
      }
    },
    async handle(verb: string, question: Json, from: string): Promise<Answer> {
      const how = answers.get(verb)
      if (how === undefined) return { code: 'node-unavailable', message: `nobody answers '${verb}' here` }
      try {
        return { answer: await how(question, from) }
      } catch (error) {
        if (error instanceof Refusal) return { code: error.code, message: error.message }
        log.error({ err: error, verb, from }, 'failed to answer another node')
        return { code: 'server-error', message: `'${verb}' failed` }
      }
    },
  }
}

const codes = new Set<string>(listRefusals().map(one => one.code))

/** The answer, or the Refusal that it is. */
export function readAnswer(answer: Answer): Json {
  if ('answer' in answer) return answer.answer
  throw new Refusal(codes.has(answer.code) ? answer.code : 'server-error', answer.message)
}

export function unavailable(node: string, why: string, cause?: unknown): Refusal {
  return new Refusal('node-unavailable', `node ${node} ${why}`, { cause })
}

/** `*` is one word, `>` the rest. Patterns are our own, never a stranger's. */
function matcher(pattern: string): RegExp {
  const words = pattern.split('.').map(word => {
    if (word === '*') return '[^.]+'
    if (word === '>') return '.+'
    return word.replace(/[^\w-]/g, '\\$&')
  })
  return new RegExp(`^${words.join('\\.')}$`)
}
