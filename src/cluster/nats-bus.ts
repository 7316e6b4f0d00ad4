import { readFileSync } from 'node:fs'
import { checkServerIdentity } from 'node:tls'
import type { ConsumerMessages } from '@nats-io/jetstream'
import type { NatsConnection, NodeConnectionOptions } from '@nats-io/transport-node'
import { Refusal } from '../errors.ts'
import type { Logger } from '../log.ts'
import type { Bus, Json } from './bus.ts'
import { type Answer, type Desk, readAnswer, unavailable } from './desk.ts'
import { mostKept } from './direct-bus.ts'

export interface NatsBusDeps {
  /**
   * URLs with commas between, `nats://` or `tls://`, which holds for all. The first one says how we prove ourselves:
   * `user:password@`, `token@`, `?creds=FILE`, `?nkey=FILE` of a seed, or with TLS `?cert=FILE&key=FILE`; `?ca=FILE` is whom
   * we trust.
   */
  url: string
  /** First word of all subjects, so that several clusters may share a NATS. */
  name: string
  node: string
  /** Stands in while NATS is away. */
  direct: Bus
  desk: Desk
  log: Logger
}

interface Envelope {
  from: string
  fact: Json
  id?: string
}

interface Waiting {
  subject: string
  id: string
  fact: Json
}

const retryMs = 1000
const keptMs = 24 * 3_600_000
const absentMs = 7 * keptMs
const nanoseconds = 1_000_000
// Questions that may be asked by both ways at once, because it does no harm to be asked twice. A NATS that hangs is noticed
// after seconds, and nobody is to hear nothing for so long; a media node answers each question of a number once.
const twice = new Set(['ping', 'countMeIn', 'goodbye', 'mediaHello', 'media', 'mediaEvents'])

/**
 * Facts and questions over NATS:
 *   NAME.fact.SUBJECT   for whoever listens now
 *   NAME.kept.SUBJECT   kept by JetStream for a day, and given to each node once, also when it was away
 *   NAME.ask.NODE       questions to one node
 * Throws Refusal('bad-config') for URLs that cannot be.
 */
export function createNatsBus(deps: NatsBusDeps): Bus {
  const { node, direct, desk, log } = deps
  const options = readUrls(deps.url, node)
  const name = word(deps.name)
  const stream = `${name}-kept`
  const waiting: Waiting[] = []
  let nats: NatsConnection | undefined
  let connected = false
  let keeps: ((one: Waiting) => Promise<void>) | undefined
  let flushing = false
  let messages: ConsumerMessages | undefined
  let reason = 'not reached yet'
  let retry: NodeJS.Timeout | undefined
  let closed = false
  let starting = start()

  async function start(): Promise<void> {
    try {
      const library = await import('@nats-io/transport-node')
      const fresh = await library.connect(options(library))
      if (closed) return await fresh.close()
      nats = fresh
      void fresh.closed().then(error => again(error ?? new Error('closed')))
      void follow(fresh)
      serve(fresh)
      reason = 'not all is set up yet'
      await openStream(fresh)
      // What has happened to the connection meanwhile was told by its status.
      if (reason !== 'not all is set up yet') return
      connected = true
      reason = ''
      log.info({ server: fresh.getServer() }, 'NATS is reached')
      void flush()
    } catch (error) {
      again(error as Error)
    }
  }

  /** NATS reconnects by itself; this is for what it gives up on, such as a server that is not there at the start. */
  function again(error: Error): void {
    connected = false
    keeps = undefined
    if (closed) return
    if (reason !== error.message) log.warn({ why: error.message }, 'NATS is not reached; nodes talk directly')
    reason = error.message
    clearTimeout(retry)
    retry = setTimeout(() => {
      starting = start()
    }, retryMs)
    retry.unref()
  }

  async function follow(of: NatsConnection): Promise<void> {
    for await (const { type } of of.status()) {
      if (type === 'disconnect') {
        connected = false
        reason = 'connection lost'
        log.warn({ why: reason }, 'NATS is gone; nodes talk directly')
      } else if (type === 'reconnect') {
        connected = true
        reason = ''
        log.info({ server: of.getServer() }, 'NATS is back')
        if (keeps === undefined) void openStream(of)
        else void flush()
      }
    }
  }

  function serve(of: NatsConnection): void {
    const facts = `${name}.fact.`
    of.subscribe(`${facts}>`, {
      callback(error, message) {
        if (error !== null) return again(error)
        const { from, fact } = message.json<Envelope>()
        desk.deliver(message.subject.slice(facts.length), fact, from)
      },
    })
    of.subscribe(`${name}.ask.${word(node)}`, {
      callback(error, message) {
        if (error !== null) return again(error)
        const { verb, question, from } = message.json<{ verb: string; question: Json; from: string }>()
        void desk.handle(verb, question, from).then(answer => message.respond(JSON.stringify(answer)))
      },
    })
  }

  /** Without JetStream kept facts go directly. */
  async function openStream(of: NatsConnection): Promise<void> {
    try {
      const { jetstream, jetstreamManager, AckPolicy, DeliverPolicy } = await import('@nats-io/jetstream')
      const manager = await jetstreamManager(of)
      const js = jetstream(of)
      await manager.streams.add({ name: stream, subjects: [`${name}.kept.>`], max_age: keptMs * nanoseconds })
      const durable = `node-${word(node)}`
      await manager.consumers.add(stream, {
        durable_name: durable,
        ack_policy: AckPolicy.Explicit,
        deliver_policy: DeliverPolicy.New,
        inactive_threshold: absentMs * nanoseconds,
      })
      messages = await (await js.consumers.get(stream, durable)).consume()
      void hear(messages)
      keeps = async one => {
        const envelope: Envelope = { from: node, fact: one.fact, id: one.id }
        await js.publish(`${name}.kept.${one.subject}`, JSON.stringify(envelope), { msgID: one.id, timeout: 2000 })
      }
      void flush()
    } catch (error) {
      keeps = undefined
      log.warn({ why: (error as Error).message }, 'NATS keeps nothing for us; facts that must not be lost go directly')
    }
  }

  async function hear(from: ConsumerMessages): Promise<void> {
    const kept = `${name}.kept.`
    for await (const message of from) {
      const envelope = message.json<Envelope>()
      desk.deliver(message.subject.slice(kept.length), envelope.fact, envelope.from, envelope.id)
      message.ack()
    }
  }

  /** What waits is written in its order. */
  async function flush(): Promise<void> {
    if (flushing) return
    flushing = true
    try {
      for (let one = waiting[0]; one !== undefined && keeps !== undefined && connected; one = waiting[0]) {
        await keeps(one)
        if (waiting[0] === one) waiting.shift()
      }
    } catch (error) {
      log.debug({ why: (error as Error).message }, 'kept facts wait for NATS')
    }
    flushing = false
    if (waiting.length > 0 && !closed) setTimeout(flush, retryMs).unref()
  }

  async function askByNats(to: string, verb: string, question: Json, timeout: number): Promise<Json> {
    const text = JSON.stringify({ verb, question, from: node })
    let answer: Answer
    try {
      answer = (await nats!.request(`${name}.ask.${word(to)}`, text, { timeout })).json<Answer>()
    } catch (error) {
      throw unavailable(to, 'does not answer over NATS', error)
    }
    return readAnswer(answer)
  }

  /** What has surely not arrived by NATS is asked directly. */
  async function askEitherWay(to: string, verb: string, question: Json, timeoutMs: number): Promise<Json> {
    try {
      return await askByNats(to, verb, question, timeoutMs)
    } catch (error) {
      const nobody = error instanceof Refusal && (error.cause as Error | undefined)?.name === 'NoRespondersError'
      if (!nobody) throw error
      return await direct.ask(to, verb, question, timeoutMs)
    }
  }

  return {
    publish(subject, fact) {
      if (!connected) return direct.publish(subject, fact)
      queueMicrotask(() => desk.deliver(subject, fact, node))
      nats?.publish(`${name}.fact.${subject}`, JSON.stringify({ from: node, fact } satisfies Envelope))
    },
    async keep(subject, id, fact) {
      if (!connected || keeps === undefined) {
        // Both ways: whoever hears it twice goes by its id, and whoever is away finds it when it comes.
        waiting.push({ subject, id, fact })
        if (waiting.length > mostKept) waiting.shift()
        return await direct.keep(subject, id, fact)
      }
      desk.deliver(subject, fact, node, id)
      try {
        await keeps({ subject, id, fact })
      } catch (error) {
        log.debug({ why: (error as Error).message }, 'a kept fact waits for NATS')
        waiting.push({ subject, id, fact })
        if (waiting.length > mostKept) waiting.shift()
        void flush()
        await direct.keep(subject, id, fact)
      }
    },
    subscribe: desk.subscribe,
    async ask(to, verb, question, timeoutMs = 1000) {
      if (to === node || !connected) return await direct.ask(to, verb, question, timeoutMs)
      if (!twice.has(verb)) return await askEitherWay(to, verb, question, timeoutMs)
      const ways = [askByNats(to, verb, question, timeoutMs), direct.ask(to, verb, question, timeoutMs)]
      return await firstOf(to, ways)
    },
    answer: desk.answer,
    healthy: () => connected,
    why: () => (connected ? '' : `NATS: ${reason}`),
    async close() {
      if (closed) return
      closed = true
      clearTimeout(retry)
      await starting
      messages?.stop()
      await nats?.close()
    },
  }
}

type Authenticators = Pick<
  typeof import('@nats-io/transport-node'),
  'credsAuthenticator' | 'nkeyAuthenticator' | 'usernamePasswordAuthenticator' | 'tokenAuthenticator'
>

/** What the URLs say. Throws Refusal('bad-config') for what is no URL of a NATS, or names a file that cannot be read. */
function readUrls(text: string, node: string): (library: Authenticators) => NodeConnectionOptions {
  const urls = text.split(',').map(one => {
    const url = URL.parse(one.trim())
    if (url?.hostname && /^(nats|tls):$/.test(url.protocol)) return url
    throw new Refusal('bad-config', 'cluster.nats: each URL is nats://host:port or tls://host:port')
  })
  const { username, password, searchParams } = urls[0]!
  const secure = urls.some(url => url.protocol === 'tls:')
  const files = new Map([...searchParams].map(([name, path]) => [name, readNamed(name, path)]))
  if (!secure && ['ca', 'cert', 'key'].some(name => files.has(name))) {
    throw new Refusal('bad-config', 'cluster.nats: ca, cert and key belong to tls://')
  }
  const [user, pass] = [decodeURIComponent(username), decodeURIComponent(password)]
  const named = ['ca', 'cert', 'key'].flatMap(name => (files.has(name) ? [[name, `${files.get(name)}`]] : []))
  return library => {
    const [creds, seed] = [files.get('creds'), files.get('nkey')]
    const authenticator =
      (creds && library.credsAuthenticator(creds)) ??
      (seed && library.nkeyAuthenticator(Buffer.from(String(seed).trim()))) ??
      (pass !== '' ? library.usernamePasswordAuthenticator(user, pass) : undefined) ??
      (user !== '' ? library.tokenAuthenticator(user) : undefined)
    return {
      servers: urls.map(url => url.host),
      name: `vaartha ${node}`,
      noEcho: true,
      maxReconnectAttempts: -1,
      reconnectTimeWait: 250,
      timeout: 2000,
      pingInterval: 2000,
      maxPingOut: 2,
      // A server without TLS is then refused by the library, before it is told anything.
      ...(secure ? { tls: { ...Object.fromEntries(named), checkServerIdentity: isOneOf(urls) } } : {}),
      ...(authenticator === undefined ? {} : { authenticator }),
    }
  }
}

/** The library has a certificate of an address checked for `localhost`; one of the hosts that we were told it has to name. */
function isOneOf(urls: readonly URL[]): typeof checkServerIdentity {
  const hosts = urls.map(({ hostname }) => hostname.replace(/^\[|\]$/g, ''))
  return (_name, certificate) => {
    const wrong = hosts.map(host => checkServerIdentity(host, certificate))
    return wrong.includes(undefined) ? undefined : wrong[0]
  }
}

const fileNames = new Set(['ca', 'cert', 'key', 'creds', 'nkey'])

function readNamed(name: string, path: string): Buffer {
  if (!fileNames.has(name)) throw new Refusal('bad-config', `cluster.nats: there is no ?${name}=`)
  try {
    return readFileSync(path)
  } catch (cause) {
    throw new Refusal('bad-config', `cluster.nats: ${name}: ${(cause as Error).message}`, { cause })
  }
}

/** What comes first by any way, a Refusal of the node itself included; `node-unavailable` when none brings anything. */
async function firstOf(to: string, ways: readonly Promise<Json>[]): Promise<Json> {
  const answers = ways.map(way =>
    way.then(
      answer => ({ answer }),
      (refused: unknown) => {
        if (refused instanceof Refusal && refused.code !== 'node-unavailable') return { refused }
        throw refused
      },
    ),
  )
  const first = await Promise.any(answers).catch(() => Promise.reject(unavailable(to, 'does not answer')))
  if ('refused' in first) throw first.refused
  return first.answer
}

/** One word of a subject, or a name: other characters than letters, digits, `-` and `_` become their code. */
function word(text: string): string {
  return text.replace(/[^A-Za-z0-9_-]/g, char => `_${char.codePointAt(0)!.toString(16)}_`)
}
