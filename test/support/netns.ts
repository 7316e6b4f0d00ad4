import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'

// Several hosts on one machine: network namespaces joined by bridges in a namespace of their own. Needs root.

/** A program that runs on a host. */
export interface Running {
  pid: number
  /** All that it has printed so far, on both outputs. */
  output(): string
  /** Resolves with the match once the output matches; rejects when the program ends first or `ms` have passed. */
  waitFor(pattern: RegExp, ms?: number): Promise<RegExpMatchArray>
  /** Ends it, and resolves when it has ended. */
  stop(signal?: NodeJS.Signals): Promise<void>
}

export interface Host {
  name: string
  /** Of the network namespace, as `ip netns` has it. */
  namespace: string
  /** Runs a command to its end; a code other than 0 is no error. */
  run(
    command: string,
    args: readonly string[],
    env?: NodeJS.ProcessEnv,
  ): Promise<{ code: number; stdout: string; stderr: string }>
  spawn(command: string, args: readonly string[], env?: NodeJS.ProcessEnv): Running
  /** `addAddress('eth0', '10.0.0.1/24')` */
  addAddress(device: string, address: string): Promise<void>
  removeAddress(device: string, address: string): Promise<void>
}

export interface Network {
  /** Adds a host whose `eth0`, `eth1` … hang on the LANs of these numbers. */
  addHost(name: string, lans?: readonly number[]): Promise<Host>
  /** Ends every program and deletes every namespace. Idempotent. */
  close(): Promise<void>
}

function execute(command: string, args: readonly string[], env?: NodeJS.ProcessEnv) {
  return new Promise<{ code: number; stdout: string; stderr: string }>(resolve => {
    execFile(command, args, { env: { ...process.env, ...env }, timeout: 20_000 }, (err, stdout, stderr) => {
      resolve({ code: err ? Number(err.code) || 1 : 0, stdout, stderr })
    })
  })
}

async function must(command: string, ...args: string[]): Promise<void> {
  const { code, stderr } = await execute(command, args)
  if (code !== 0) throw new Error(`${command} ${args.join(' ')}: ${stderr.trim()}`)
}

/** Why namespaces cannot be made here, or undefined when they can. */
export async function whyNoNamespaces(): Promise<string | undefined> {
  if (process.getuid?.() !== 0) return 'network namespaces need root'
  const name = `va${randomBytes(4).toString('hex')}`
  try {
    await must('ip', 'netns', 'add', name)
    await must('ip', 'netns', 'delete', name)
    return undefined
  } catch (err) {
    return `network namespaces cannot be made here: ${(err as Error).message}`
  }
}

function watch(child: ChildProcess, what: string): Running {
  let text = ''
  const listeners = new Set<() => void>()
  const tell = () => {
    for (const listener of listeners) listener()
  }
  const read = (chunk: Buffer) => {
    text += chunk
    tell()
  }
  child.stdout?.on('data', read)
  child.stderr?.on('data', read)
  let ended = false
  const end = new Promise<void>(resolve => {
    child.once('close', () => {
      ended = true
      tell()
      resolve()
    })
  })
  child.once('error', err => read(Buffer.from(String(err))))
  return {
    pid: child.pid ?? 0,
    output: () => text,
    waitFor: (pattern, ms = 10_000) =>
      new Promise((resolve, reject) => {
        const settle = (done: () => void) => {
          listeners.delete(look)
          clearTimeout(timer)
          done()
        }
        const fail = (why: string) => settle(() => reject(new Error(`${what} ${why} without ${pattern}:\n${text}`)))
        const look = () => {
          const match = text.match(pattern)
          if (match) settle(() => resolve(match))
          else if (ended) fail('ended')
        }
        const timer = setTimeout(() => fail(`went on for ${ms} ms`), ms)
        listeners.add(look)
        look()
      }),
    async stop(signal = 'SIGTERM') {
      if (!ended) child.kill(signal)
      const hard = setTimeout(() => child.kill('SIGKILL'), 5000)
      await end
      clearTimeout(hard)
    },
  }
}

/** Makes a network of `lans` separate LANs without any host. */
export async function createNetwork(lans = 1): Promise<Network> {
  const id = `va${randomBytes(3).toString('hex')}`
  const middle = `${id}-lan`
  const namespaces: string[] = []
  const programs = new Set<Running>()
  let closing: Promise<void> | undefined
  let cables = 0

  const addNamespace = async (name: string) => {
    await must('ip', 'netns', 'add', name)
    namespaces.push(name)
    await must('ip', '-n', name, 'link', 'set', 'lo', 'up')
  }
  const addCable = async (namespace: string, device: string, lan: number) => {
    const plug = `p${cables++}`
    const end = ['type', 'veth', 'peer', 'name', plug, 'netns', middle]
    await must('ip', '-n', namespace, 'link', 'add', device, ...end)
    await must('ip', '-n', middle, 'link', 'set', plug, 'master', `lan${lan}`, 'up')
    await must('ip', '-n', namespace, 'link', 'set', device, 'up')
  }
  const close = async () => {
    await Promise.all([...programs].map(program => program.stop()))
    // What those had started themselves.
    for (const name of namespaces) {
      const { stdout } = await execute('ip', ['netns', 'pids', name])
      for (const pid of stdout.split('\n').filter(Boolean)) await execute('kill', ['-9', pid])
    }
    for (const name of namespaces) await must('ip', 'netns', 'delete', name)
  }
  const makeHost = (name: string, namespace: string): Host => {
    const inside = (command: string, args: readonly string[]) => ['netns', 'exec', namespace, command, ...args]
    return {
      name,
      namespace,
      run: (command, args, env) => execute('ip', inside(command, args), env),
      spawn(command, args, env) {
        const child = spawn('ip', inside(command, args), { env: { ...process.env, ...env } })
        const running = watch(child, `${name}: ${command}`)
        programs.add(running)
        return running
      },
      // Duplicate address detection would keep an IPv6 address unusable for a second.
      addAddress: (device, address) =>
        must(
          'ip',
          '-n',
          namespace,
          'address',
          'add',
          address,
          'dev',
          device,
          ...(address.includes(':') ? ['nodad'] : []),
        ),
      removeAddress: (device, address) => must('ip', '-n', namespace, 'address', 'delete', address, 'dev', device),
    }
  }

  await addNamespace(middle)
  for (let lan = 0; lan < lans; lan++) {
    await must('ip', '-n', middle, 'link', 'add', `lan${lan}`, 'type', 'bridge', 'mcast_snooping', '0')
    await must('ip', '-n', middle, 'link', 'set', `lan${lan}`, 'up')
  }
  return {
    async addHost(name, on = [0]) {
      const namespace = `${id}-${name}`
      await addNamespace(namespace)
      for (const [i, lan] of on.entries()) await addCable(namespace, `eth${i}`, lan)
      return makeHost(name, namespace)
    },
    close() {
      closing ??= close()
      return closing
    },
  }
}
