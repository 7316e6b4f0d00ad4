import { chooseTargets, isLive, type Target, targetOf, type Whereabouts } from '../calls/route.ts'
import type { SrfPort } from '../calls/sip.ts'
import type { Binding } from '../location/store.ts'
import { hasTaken, headersFor, judge, type Message, type Outcome } from './message.ts'

export interface SenderDeps {
  srf: SrfPort
  domain: string
  /** Most devices that one message goes to. */
  most: number
  bindings(aor: string): Promise<readonly Binding[]> | readonly Binding[]
  bindingsOfGruu(uri: string): Promise<readonly Binding[] | undefined>
  /** The other nodes, over which their phones are reached. */
  where: Whereabouts
}

export interface Sender {
  /** The devices of its person that do not have it yet. */
  targets(message: Message): Promise<Target[]>
  /** Whether a person has any device that can be reached. */
  isThere(user: string): Promise<boolean>
  /** Sends it to them in parallel, and calls `onTaken` for each that takes it while others have not answered yet. Never rejects. */
  send(message: Message, targets: readonly Target[], onTaken: () => void): Promise<Outcome>
}

// Nobody has seen it: the connection (RFC 5626 section 5.3) or its node is gone.
const lost = new Set([430, 503])
const mostWays = 3
// Longer than any transaction: the answer of an engine that has gone would be waited for without end.
const longestMs = 40_000

/** Takes a message to the devices of one person, each over the connection that it has, also where another node holds that. */
export function createSender({ srf, domain, most, bindings, bindingsOfGruu, where }: SenderDeps): Sender {
  const deviceOf = ({ instance, callId }: Pick<Binding, 'instance' | 'callId'>) => instance ?? callId
  const nameOf = ({ device }: Target) => device.instance ?? device.registration
  const wayOf = (target: Target) => `${target.uri} ${target.proxy ?? ''}`

  async function bindingsFor({ user, gruu }: Message): Promise<readonly Binding[]> {
    return gruu === undefined ? bindings(`sip:${user}@${domain}`) : ((await bindingsOfGruu(gruu)) ?? [])
  }

  function attempt(message: Message, target: Target): Promise<number> {
    return new Promise(resolve => {
      const timer = setTimeout(() => resolve(408), longestMs)
      timer.unref()
      const done = (status: number) => {
        clearTimeout(timer)
        resolve(status)
      }
      const { uri, proxy } = target
      const headers = headersFor(message, nameOf(target), domain)
      try {
        srf.request(uri, { method: 'MESSAGE', proxy, headers, body: message.body }, (error, sent) => {
          if (error || sent === undefined) return done(503)
          sent.on('response', ({ status }) => {
            if (status >= 200) done(status)
          })
        })
      } catch {
        // srf throws when it has no connection to its engine: nobody is reached.
        done(503)
      }
    })
  }

  /** One connection of a device that turns out to be gone leaves its others. */
  async function reach(message: Message, first: Target): Promise<number> {
    const tried = new Set<string>()
    for (let target: Target | undefined = first; ; ) {
      tried.add(wayOf(target))
      const status = await attempt(message, target)
      if (!lost.has(status) || tried.size >= mostWays) return status
      const own = (await bindingsFor(message)).filter(one => deviceOf(one) === nameOf(first) && isLive(one, where))
      target = own.map(one => targetOf(one, where)).find(one => !tried.has(wayOf(one)))
      if (target === undefined) return status
    }
  }

  return {
    async targets(message) {
      const found = chooseTargets(await bindingsFor(message), { most, where })
      return found.filter(target => !message.reached.includes(nameOf(target)))
    },
    isThere: async user => chooseTargets(await bindings(`sip:${user}@${domain}`), { most: 1, where }).length > 0,
    async send(message, targets, onTaken) {
      let open = targets.length
      const statuses = await Promise.all(
        targets.map(async target => {
          const status = await reach(message, target)
          open--
          if (hasTaken(status)) {
            message.reached.push(nameOf(target))
            if (open > 0) onTaken()
          }
          return status
        }),
      )
      return judge(statuses)
    },
  }
}
