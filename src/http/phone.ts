import type { FastifyInstance, FastifyRequest } from 'fastify'
import { Refusal } from '../errors.ts'
import { array, boolean, closed, integer, nothing, nullable, object, optional, type Static, string } from '../schema.ts'
import type { HttpDeps } from './deps.ts'
import type { PhoneSessions } from './phone-sessions.ts'
import { unlessAway } from './status.ts'

// Far more than a phone's own needs, far less than a guesser's.
const mostProofs = 60
const mostPeople = 1000
const path = '/api/phone/session'

const hello = object({
  name: string(),
  domain: string(),
  version: string(),
  securePort: nullable(integer(), { description: 'Port of HTTPS; null when it is off.' }),
  ownAuthority: boolean({ description: 'The certificate is of this server’s own authority: see /trust.' }),
  others: array(string({ description: '`host:port` of HTTPS of another node of the same cluster.' })),
})
const proof = object(
  { proof: string({ maxLength: 2000, description: 'A digest answer (RFC 7616) to the challenge.' }) },
  closed,
)
const session = object({
  user: string(),
  displayName: string(),
  mayRecord: boolean({ description: 'This user may have its calls recorded (`calls.record`).' }),
})
const challenge = object({ challenge: string({ description: 'As in WWW-Authenticate, with MD5.' }) })
const person = object({
  user: string(),
  name: string(),
  online: boolean(),
  group: boolean({ description: 'An address that several people meet at.' }),
})
const past = object({
  from: string(),
  to: string(),
  started: string({ description: 'ISO 8601, UTC.' }),
  answered: optional(string()),
  seconds: integer(),
  result: string(),
})

type Deps = Pick<
  HttpDeps,
  | 'accounts'
  | 'groups'
  | 'auth'
  | 'domain'
  | 'info'
  | 'certificates'
  | 'registrations'
  | 'records'
  | 'calls'
  | 'otherPlaces'
>

/**
 * What the web phone asks of its server. It holds no password but the hash that SIP digest needs, so it proves itself
 * here by the same digest; the challenge travels in the body, because a browser that sees one in a header asks its
 * user for a password.
 */
export function addPhone(
  app: FastifyInstance,
  deps: Deps,
  sessions: PhoneSessions,
  points: () => { secure: boolean; port: number }[],
): void {
  const tags = ['phone']
  app.get(
    '/api/phone',
    { schema: { summary: 'Where this is', tags, security: [], response: { 200: hello } } },
    async () => {
      const { name, domain, version } = await deps.info()
      const securePort = points().find(point => point.secure)?.port ?? null
      const others = [...(deps.otherPlaces?.() ?? [])]
      return { name, domain, version, securePort, ownAuthority: deps.certificates.caPem() !== undefined, others }
    },
  )
  const limit = { rateLimit: { max: mostProofs, timeWindow: 60_000 } }
  app.get(
    path,
    {
      config: limit,
      schema: { summary: 'What a phone has to prove', tags, security: [], response: { 200: challenge } },
    },
    async request => ({ challenge: await challengeFor(deps, request) }),
  )
  app.post<{ Body: Static<typeof proof> }>(
    path,
    {
      config: limit,
      schema: {
        summary: 'Signs a phone in, by SIP digest',
        tags,
        security: [],
        body: proof,
        response: { 200: session },
      },
    },
    async (request, reply) => {
      const asked = { method: 'POST', uri: path, source: request.ip, authorization: [request.body.proof] }
      const { user } = await deps.auth.check(asked, 'www')
      const account = await deps.accounts.get(user, deps.domain)
      if (account === undefined) throw new Refusal('forbidden')
      sessions.open(user, reply)
      return { user, displayName: account.displayName, mayRecord: await deps.calls.mayRecord(user) }
    },
  )
  app.delete(
    path,
    { schema: { summary: 'Signs it out', tags, security: [], response: { 204: nothing() } } },
    async (request, reply) => {
      sessions.close(request, reply)
      return reply.code(204).send()
    },
  )
  app.get(
    '/api/people',
    { schema: { summary: 'Who can be called', tags, security: [], response: { 200: array(person) } } },
    async request => {
      const own = sessions.demand(request)
      const groups = (await deps.groups.list(deps.domain)).map(({ name, displayName }) => ({
        user: name,
        name: displayName || name,
        online: true,
        group: true,
      }))
      const accounts = await deps.accounts.list(deps.domain)
      const page = await unlessAway(() => deps.registrations.list(undefined, mostPeople))
      const online = new Set(page?.bindings.map(binding => binding.aor))
      const people = accounts
        .filter(account => account.enabled && account.user !== own)
        .slice(0, mostPeople)
        .map(({ user, displayName }) => ({
          user,
          name: displayName || user,
          online: online.has(`sip:${user}@${deps.domain}`),
          group: false,
        }))
      return [...groups, ...people]
    },
  )
  app.get(
    '/api/phone/history',
    { schema: { summary: 'One’s own last calls', tags, security: [], response: { 200: array(past) } } },
    async request => {
      const user = `sip:${sessions.demand(request)}@${deps.domain}`
      return (await deps.records.list({ user, limit: 50 })).map(record => ({
        ...record,
        seconds: Math.round(record.seconds),
      }))
    },
  )
}

async function challengeFor({ auth }: Deps, request: FastifyRequest): Promise<string> {
  try {
    await auth.check({ method: 'POST', uri: path, source: request.ip, authorization: [] }, 'www')
  } catch (error) {
    if (!(error instanceof Refusal) || error.code !== 'unauthorized') throw error
    const md5 = [error.headers['WWW-Authenticate'] ?? []].flat().find(value => value.includes('algorithm=MD5'))
    if (md5 !== undefined) return md5
  }
  throw new Refusal('forbidden', 'auth.md5 is false, and a browser can prove nothing better')
}
