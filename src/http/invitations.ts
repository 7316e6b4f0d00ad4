import type { FastifyInstance } from 'fastify'
import { Refusal } from '../errors.ts'
import { closed, object, type Static, string } from '../schema.ts'
import type { HttpDeps } from './deps.ts'

// Wrong tokens from one address, a minute.
const mostRedeemed = 10

const params = object({ user: string() })
const invitation = object({
  link: string({ description: 'For one browser, once.' }),
  ends: string({ description: 'ISO 8601, UTC.' }),
})
const token = object({ token: string({ minLength: 1, maxLength: 200 }) }, closed)
const redeemed = object({
  user: string(),
  domain: string(),
  displayName: string(),
  ha1: string({ description: 'MD5 of `user:domain:password`, which is all that a phone in a browser needs of it.' }),
})

type Deps = Pick<HttpDeps, 'accounts' | 'invitations' | 'domain'>

/** Makes invitations, for the administrator. `base` is where browsers reach this server. */
export function addInvitations(app: FastifyInstance, deps: Deps, base: () => string | undefined): void {
  app.post<{ Params: Static<typeof params> }>(
    '/api/accounts/:user/invitations',
    {
      schema: {
        summary: 'A link that signs one browser in as this person, once',
        tags: ['accounts'],
        params,
        response: { 201: invitation },
      },
    },
    async (request, reply) => {
      const account = await deps.accounts.get(request.params.user, deps.domain)
      if (account === undefined) throw new Refusal('not-found', `there is no account ${request.params.user}`)
      const host = base()
      if (host === undefined) throw new Refusal('not-found', 'HTTP listens on no address, so no link leads here')
      const made = await deps.invitations.make(account.user, account.domain)
      return reply.code(201).send({ link: `${host}/join#${made.token}`, ends: made.ends })
    },
  )
}

/** Uses invitations up, for whoever holds one. */
export function addRedeem(app: FastifyInstance, deps: Deps): void {
  app.post<{ Body: Static<typeof token> }>(
    '/api/invitations/redeem',
    {
      config: { rateLimit: { max: mostRedeemed, timeWindow: 60_000 } },
      schema: {
        summary: 'Uses an invitation up',
        tags: ['phone'],
        security: [],
        body: token,
        response: { 200: redeemed },
      },
    },
    async request => {
      // What comes back is as good as the password, so it is not sent where others can read along.
      if (request.protocol !== 'https' && !isLoopback(request.ip))
        throw new Refusal('forbidden', 'an invitation is used up over HTTPS only')
      const who = await deps.invitations.redeem(request.body.token)
      const found = who && (await deps.accounts.find(who.user, who.domain))
      if (!found?.enabled) throw new Refusal('forbidden', 'this invitation is used up, too old or wrong')
      const { user, domain, displayName, ha1 } = found
      return { user, domain, displayName, ha1: ha1.MD5 }
    },
  )
}

export function isLoopback(address: string): boolean {
  return address === '::1' || /^(::ffff:)?127\./.test(address)
}
