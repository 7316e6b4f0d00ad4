import type { FastifyInstance } from 'fastify'
import { type Static, Type } from 'typebox'
import { Refusal } from '../errors.ts'
import type { HttpDeps } from './deps.ts'

const account = Type.Object({
  user: Type.String(),
  domain: Type.String(),
  displayName: Type.String(),
  enabled: Type.Boolean(),
  roles: Type.Array(Type.String()),
  created: Type.String({ description: 'ISO 8601, UTC.' }),
  md5Seen: Type.Boolean({ description: 'A phone of this account has proven itself with MD5.' }),
})

const displayName = Type.Optional(Type.String({ maxLength: 200 }))
const password = Type.Optional(Type.String({ maxLength: 200 }))
const newAccount = Type.Object(
  { user: Type.String({ minLength: 1, maxLength: 200 }), displayName, password },
  { additionalProperties: false },
)
const change = Type.Object(
  {
    displayName,
    enabled: Type.Optional(Type.Boolean()),
    password,
    newPassword: Type.Optional(Type.Boolean({ description: 'True has a password made and told once.' })),
  },
  { additionalProperties: false },
)
const params = Type.Object({ user: Type.String() })
const withPassword = Type.Object({
  account,
  password: Type.Optional(Type.String({ description: 'Told this once; the server does not keep it.' })),
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

  app.get('/api/accounts', { schema: { summary: 'People', tags, response: { 200: Type.Array(account) } } }, async () =>
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
    { schema: { summary: 'Removes a person', tags, params, response: { 204: Type.Null() } } },
    async (request, reply) => {
      const { user } = await known(request.params.user)
      await accounts.remove(user, domain)
      await forget(user)
      return reply.code(204).send()
    },
  )
}
