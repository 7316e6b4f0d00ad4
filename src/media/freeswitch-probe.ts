import { createConnection } from 'node:net'

export interface FreeSwitchPlace {
  host: string
  /** Of its event socket. */
  port: number
  secret: string
}

/** The SIP profile that must be there for us; its dialplan calls us back (docs/running.md). */
export const sipProfile = 'drachtio_mrf'

const mostBytes = 262_144

/**
 * Whether a FreeSWITCH can mix for us: takes the secret at its event socket and has the SIP profile. Resolves with the
 * addresses of both ends of that connection, which media and its own connections to us can take too; rejects with an Error
 * that says what is wrong. drachtio-fsmrf would try for ever with a wrong secret, and throw where nobody can catch
 * it when the profile is missing: so it is asked only when this has gone well.
 */
export function probeFreeSwitch(
  { host, port, secret }: FreeSwitchPlace,
  { ms = 5000, signal }: { ms?: number; signal?: AbortSignal } = {},
): Promise<{ local: string; remote: string }> {
  const { promise, resolve, reject } = Promise.withResolvers<{ local: string; remote: string }>()
  const socket = createConnection({ host, port, family: 4, ...(signal && { signal }) })
  const where = `the FreeSWITCH at ${host}:${port}`
  const timer = setTimeout(() => fail(`${where} does not answer`), ms)
  const end = () => {
    clearTimeout(timer)
    socket.destroy()
  }
  const fail = (why: string) => {
    end()
    reject(new Error(why))
  }
  let held = ''
  socket.setEncoding('latin1')
  socket.on('error', error => fail(`no FreeSWITCH answers at ${host}:${port} (${codeOf(error)})`))
  socket.on('close', () => fail(`${where} closes the connection`))
  socket.on('data', chunk => {
    held += chunk
    if (held.length > mostBytes) return fail(`${host}:${port} is no event socket`)
    for (;;) {
      const message = take(held)
      if (message === undefined) return
      held = message.rest
      heard(message.head, message.body)
    }
  })

  function heard(head: string, body: string): void {
    if (head.includes('auth/request')) socket.write(`auth ${secret}\n\n`)
    else if (head.includes('command/reply') && !head.includes('+OK')) fail(`${where} refuses the secret`)
    else if (head.includes('command/reply')) socket.write('api sofia status\n\n')
    else if (head.includes('rude-rejection')) fail(`${where} refuses this machine’s address (event_socket.conf, ACL)`)
    else if (head.includes('api/response') && !hasProfile(body)) {
      fail(`${where} has no running SIP profile ${sipProfile} with an IPv4 address`)
    } else if (head.includes('api/response')) {
      const { localAddress, remoteAddress } = socket
      end()
      resolve({ local: localAddress!, remote: remoteAddress! })
    }
  }
  return promise
}

function take(held: string): { head: string; body: string; rest: string } | undefined {
  const end = held.indexOf('\n\n')
  if (end < 0) return undefined
  const head = held.slice(0, end)
  const length = Number(/^Content-Length: (\d{1,9})$/m.exec(head)?.[1] ?? 0)
  const from = end + 2
  if (held.length < from + length) return undefined
  return { head, body: held.slice(from, from + length), rest: held.slice(from + length) }
}

// The lines of `sofia status` are a name, a type, an address and a state.
function hasProfile(status: string): boolean {
  return status.split('\n').some(line => {
    const [name, , address] = line.trim().split(/\s+/)
    return name === sipProfile && /^sip:mod_sofia@[\d.]+:\d+$/.test(address ?? '')
  })
}

function codeOf(error: NodeJS.ErrnoException): string {
  return error.code ?? error.message
}
