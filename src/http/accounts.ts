import type { FastifyInstance } from 'fastify'
import { Refusal } from '../errors.ts'
import { array, boolean, closed, nothing, object, optional, type Static, string } from '../schema.ts'
import type { HttpDeps } from './deps.ts'

const account = object({
  user: string(),
  domain: string(),
  displayName: string(),
  enabled: boolean(),
  roles: array(string()),
  created: string({ description: 'ISO 8601, UTC.' }),
  md5Seen: boolean({ description: 'A phone of this account has proven itself with MD5.' }),
})

const displayName = optional(string({ maxLength: 200 }))
const password = optional(string({ maxLength: 200 }))
const newAccount = object({ user: string({ minLength: 1, maxLength: 200 }), displayName, password }, closed)
const change = object(
  {
    displayName,
    enabled: optional(boolean()),
    password,
    newPassword: optional(boolean({ description: 'True has a password made and told once.' })),
  },
  closed,
)
const params = object({ user: string() })
const withPassword = object({
  account,
  password: optional(string({ description: 'Told this once; the server does not keep it.' })),
})

export function addAccounts(
  app: FastifyInstance,
  { accounts, domain, registrations }: Pick<HttpDeps, 'accounts' | 'domain' | 'registrations'>,
): void {
  const tags = ['accounts']
  const known = async (user: string) => {
    const found = await accounts.get(user, domain)
    if (found === undefined) throw new Refusal('not-found', `there is no account ${user}`)
    return found
  }
  // Whoever may not call any more is not rung any more.
  const forget = (user: string) => registrations.remove(`sip:${user}@${domain}`)

  app.get('/api/accounts', { schema: { summary: 'People', tags, response: { 200: array(account) } } }, async () =>
    accounts.list(domain),
  )
  app.post<{ Body: Static<typeof newAccount> }>(
    '/api/accounts',
    { schema: { summary: 'Adds a person', tags, body: newAccount, response: { 201: withPassword } } },
    async (request, reply) => reply.code(201).send(await accounts.add({ ...request.body, domain })),
  )
  app.patch<{ Params: Static<typeof params>; Body: Static<typeof change> }>(
    '/api/accounts/:user',
    { schema: { summary: 'Changes a person', tags, params, body: change, response: { 200: withPassword } } },
    async request => {
      const { body } = request
      const { user } = await known(request.params.user)
      // The password comes first: it is what may be refused, and then nothing has changed.
      const told =
        body.password !== undefined || body.newPassword
          ? await accounts.setPassword(user, domain, body.password)
          : undefined
      if (body.displayName !== undefined) await accounts.setDisplayName(user, domain, body.displayName)
      if (body.enabled !== undefined) await accounts.setEnabled(user, domain, body.enabled)
      if (body.enabled === false) await forget(user)
      return { account: await known(user), ...(told === undefined ? {} : { password: told }) }
    },
  )
  app.delete<{ Params: Static<typeof params> }>(
    '/api/accounts/:user',
    { schema: { summary: 'Removes a person', tags, params, response: { 204: nothing() } } },
    async (request, reply) => {
      const { user } = await known(request.params.user)
      await accounts.remove(user, domain)
      await forget(user)
      return reply.code(204).send()
    },
  )
}
