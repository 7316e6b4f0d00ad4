import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Host } from './netns.ts'

/** avahi on a host, with a D-Bus of its own: the foreign party of discovery. */
export interface Avahi {
  /** Runs one of avahi's tools to its end and gives what it printed. */
  run(tool: string, ...args: string[]): Promise<string>
  /** Starts one that stays, and waits until it has printed `pattern`. */
  start(pattern: RegExp, tool: string, ...args: string[]): Promise<void>
  close(): Promise<void>
}

const bus = (socket: string) => `<busconfig><type>system</type><listen>unix:path=${socket}</listen><auth>EXTERNAL</auth>
<policy context="default"><allow user="*"/><allow own="*"/><allow send_type="method_call"/>
<allow send_requested_reply="true" send_type="method_return"/><allow send_requested_reply="true" send_type="error"/>
<allow send_type="signal"/><allow receive_type="method_call"/><allow receive_type="signal"/>
<allow receive_type="method_return"/><allow receive_type="error"/></policy></busconfig>`

const daemon = (hostName: string) => `[server]
host-name=${hostName}
use-ipv4=yes
use-ipv6=yes
[publish]
publish-workstation=no
publish-hinfo=no
`

export async function startAvahi(host: Host, hostName: string): Promise<Avahi> {
  const directory = await mkdtemp(join(tmpdir(), 'vaartha-avahi-'))
  const [socket, busFile, daemonFile] = [
    join(directory, 'bus'),
    join(directory, 'bus.conf'),
    join(directory, 'avahi.conf'),
  ]
  await writeFile(busFile, bus(socket))
  await writeFile(daemonFile, daemon(hostName))
  const env = { DBUS_SYSTEM_BUS_ADDRESS: `unix:path=${socket}` }

  const dbus = host.spawn('dbus-daemon', [`--config-file=${busFile}`, '--nofork', '--nopidfile', '--print-address'])
  await dbus.waitFor(/unix:path/)
  // avahi knows one place for its pid file and socket; each daemon sees an empty one there.
  const script = `mkdir -p /run/avahi-daemon && mount -t tmpfs none /run/avahi-daemon && chown avahi:avahi /run/avahi-daemon &&
    exec avahi-daemon -f ${daemonFile} --no-drop-root --no-chroot --no-rlimits`
  const avahi = host.spawn('unshare', ['-m', 'sh', '-c', script], env)
  await avahi.waitFor(/Server startup complete/)
  return {
    run: async (tool, ...args) => (await host.run(tool, args, env)).stdout,
    async start(pattern, tool, ...args) {
      await host.spawn(tool, args, env).waitFor(pattern)
    },
    async close() {
      await avahi.stop()
      await dbus.stop()
      await rm(directory, { recursive: true, force: true })
    },
  }
}
