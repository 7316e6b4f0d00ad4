// What goes wrong with a Redis, told apart by the first word of its answer. The rest is what ioredis says of connections.

const words: Record<string, string> = {
  READONLY: 'is read-only: it is a replica',
  LOADING: 'is loading its data',
  MASTERDOWN: 'is a replica without its master',
  CLUSTERDOWN: 'is a Cluster with slots that nobody serves',
  TRYAGAIN: 'is moving slots',
  MISCONF: 'cannot write to its disk and refuses changes',
  OOM: 'has no memory left for changes',
  NOREPLICAS: 'has too few replicas and refuses changes',
  BUSY: 'is busy with a script',
  NOAUTH: 'wants a password',
  WRONGPASS: 'refuses our user or password',
  NOPERM: 'does not give our user the rights it needs',
  UNKILLABLE: 'is busy with a script',
}

// A script of Redis 6 gives the error of its command within a text of its own.
const pattern = new RegExp(`^(?:ERR .*-)?(${Object.keys(words).join('|')}) `)
const wordOf = ({ message }: Error) => pattern.exec(message)?.[1] ?? ''

/** True for what is not the state of Redis but a mistake of ours: it goes on to whoever asked. */
export function isBug(error: Error): boolean {
  if (error.name === 'ReplyError') return words[wordOf(error)] === undefined
  return error instanceof TypeError || error instanceof RangeError || error instanceof SyntaxError
}

/** True when the connection leads to nothing and another one may. */
export function wantsNewConnection(error: Error): boolean {
  return error.message === 'Command timed out' || /^(READONLY|MASTERDOWN)$/.test(wordOf(error))
}

/** Why Redis does not serve us, to be read after its name. */
export function inWords(error: Error, timeoutMs: number): string {
  const known = words[wordOf(error)]
  if (known !== undefined) return known
  if (error.message === 'Command timed out') return `does not answer within ${timeoutMs} ms`
  const code = (error as NodeJS.ErrnoException).code
  return `cannot be reached: ${code ?? error.message}`
}
