import { Refusal } from '../errors.ts'
import { type Headers, type Reply, reply } from './sip.ts'

/** Answers an INVITE with an SDP; resolves with the To of what was sent. Throws Refusal 487: it was cancelled. */
export function send200(res: Reply, headers: Headers, body: string): Promise<string | undefined> {
  return new Promise((resolve, reject) => {
    if (res.finalResponseSent) return reject(new Refusal('request-terminated'))
    reply(res, 200, { headers, body }, (error, sent) => {
      if (error) reject(new Refusal('request-terminated', undefined, { cause: error }))
      else resolve(sent?.get('To'))
    })
  })
}
