import { spawn } from 'node:child_process'
import { createNetwork, type Host } from './netns.ts'
import type { Place } from './server.ts'

// A small network of hosts of their own on one LAN: two nodes, Redis, NATS, two for media alone, and the phones. The test that uses it runs
// on the host of the phones, so that all that it starts by itself is a phone.

const addresses = {
  a: '10.9.0.1',
  b: '10.9.0.2',
  redis: '10.9.0.3',
  nats: '10.9.0.4',
  m: '10.9.0.5',
  n: '10.9.0.6',
  phones: '10.9.0.10',
} as const

export type HostName = keyof typeof addresses

export interface LabHost extends Place {
  /** Runs a command there to its end, and rejects when it fails. */
  must(command: string, ...args: string[]): Promise<void>
}

export interface Lab {
  readonly hosts: Record<HostName, LabHost>
  /** What `from` sends does not reach `to` any more. */
  block(from: HostName, to: HostName): Promise<void>
  /** Every host loses so much of what comes to it over the network, and phones also of the sound of each other. */
  lose(percent: number): Promise<void>
  /** All reaches all again. */
  heal(): Promise<void>
}

const variable = 'VAARTHA_TEST_LAB'
const names = Object.keys(addresses) as HostName[]

/**
 * Makes the network and runs a file in it, on the host of the phones and in a mount namespace of its own; its exit code.
 * What it prints is this process' own output, results of tests included.
 */
export async function runInLab(file: string): Promise<number> {
  const network = await createNetwork()
  const stop = () => void network.close().finally(() => process.exit(1))
  process.once('SIGTERM', stop).once('SIGINT', stop)
  try {
    const hosts: Partial<Record<HostName, Host>> = {}
    for (const name of names) {
      const host = await network.addHost(name)
      await host.addAddress('eth0', `${addresses[name]}/24`)
      await host.run('ip', ['route', 'add', 'default', 'dev', 'eth0'])
      hosts[name] = host
    }
    const namespaces = names.map(name => hosts[name]!.namespace)
    const [command, args] = enter(hosts.phones!.namespace, process.execPath, [...process.execArgv, file])
    const child = spawn('unshare', ['--mount', command, ...args], {
      stdio: 'inherit',
      env: { ...process.env, [variable]: namespaces.join() },
    })
    return await new Promise<number>((done, failed) => {
      child.once('error', failed)
      child.once('exit', code => done(code ?? 1))
    })
  } finally {
    await network.close()
  }
}

function enter(namespace: string, command: string, args: readonly string[]): [string, string[]] {
  return ['nsenter', [`--net=/run/netns/${namespace}`, command, ...args]]
}

function must(command: string, args: readonly string[]): Promise<void> {
  return new Promise((done, failed) => {
    const child = spawn(command, args, { stdio: ['ignore', 'ignore', 'inherit'] })
    child.once('error', failed)
    child.once('exit', code => (code === 0 ? done() : failed(new Error(`${command} ${args.join(' ')}: ${code}`))))
  })
}

/** The network that this file runs in. */
export async function theLab(): Promise<Lab> {
  const namespaces = (process.env[variable] ?? '').split(',')
  if (namespaces.length !== names.length) throw new Error('this file is run by runInLab')
  const entries = names.map((name, i): [HostName, LabHost] => {
    const into = (command: string, args: readonly string[]) => enter(namespaces[i]!, command, args)
    return [
      name,
      {
        address: addresses[name],
        enter: into,
        must: (command, ...args) => must(...into(command, args)),
      },
    ]
  })
  const hosts = Object.fromEntries(entries) as Record<HostName, LabHost>
  const filter = (host: LabHost, ...words: string[]) => host.must('nft', ...words)
  for (const host of Object.values(hosts)) {
    await filter(host, 'add', 'table', 'inet', 'lab')
    await filter(host, 'add', 'chain', 'inet', 'lab', 'in', '{ type filter hook input priority 0 ; }')
  }
  const drop = (host: LabHost, device: string, ...what: string[]) =>
    filter(host, 'add', 'rule', 'inet', 'lab', 'in', 'iifname', device, ...what, 'drop')
  return {
    hosts,
    block: (from, to) => drop(hosts[to], 'eth0', 'ip', 'saddr', addresses[from]),
    async lose(percent) {
      const part = ['numgen', 'random', 'mod', '100', '<', String(percent)]
      for (const host of Object.values(hosts)) await drop(host, 'eth0', ...part)
      await drop(hosts.phones, 'lo', 'udp', 'dport', '20000-29999', ...part)
    },
    async heal() {
      for (const host of Object.values(hosts)) await filter(host, 'flush', 'chain', 'inet', 'lab', 'in')
    },
  }
}
