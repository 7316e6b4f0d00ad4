import { type ChildProcess, spawn } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

// Janus from Debian's packages with its AudioBridge, on loopback, asked over its HTTP transport.

export interface Janus {
  readonly pid: number
  /** Lets a plain-RTP participant into the room; `port` is its own, the answer is where it must send. */
  join(port: number, name: string): Promise<number>
  /** Everybody goes. */
  leave(): Promise<void>
  close(): Promise<void>
}

const room = 4711

/** Starts Janus with one room of PCMU participants; its HTTP transport listens on `port`. */
export async function startJanus(port: number): Promise<Janus> {
  const directory = mkdtempSync(join(tmpdir(), 'vaartha-janus-'))
  mkdirSync(join(directory, 'none'))
  const file = (name: string, text: string) => writeFileSync(join(directory, name), text)
  file(
    'janus.jcfg',
    `general: { session_timeout = 0 configs_folder = "${directory}" debug_level = 2 events_folder = "${directory}/none" loggers_folder = "${directory}/none" }
     plugins: { disable = "libjanus_duktape.so,libjanus_echotest.so,libjanus_lua.so,libjanus_nosip.so,libjanus_recordplay.so,libjanus_sip.so,libjanus_streaming.so,libjanus_textroom.so,libjanus_videocall.so,libjanus_videoroom.so,libjanus_voicemail.so" }
     transports: { disable = "libjanus_mqtt.so,libjanus_nanomsg.so,libjanus_pfunix.so,libjanus_rabbitmq.so,libjanus_websockets.so" }`,
  )
  file(
    'janus.transport.http.jcfg',
    `general: { json = "compact" base_path = "/janus" http = true port = ${port} ip = "127.0.0.1" https = false }`,
  )
  file(
    'janus.plugin.audiobridge.jcfg',
    `general: { local_ip = "127.0.0.1" rtp_port_range = "47000-47999" }
     room-${room}: { description = "bench" sampling_rate = 16000 record = false allow_rtp_participants = true audiolevel_event = false }`,
  )
  const child = spawn('janus', ['-F', directory, '-C', join(directory, 'janus.jcfg'), '-i', '127.0.0.1'], {
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let printed = ''
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', text => (printed += text))
  const base = `http://127.0.0.1:${port}/janus`
  const ask = async (path: string, body: object): Promise<Answer> => {
    const answer = await fetch(`${base}${path}`, {
      method: 'POST',
      body: JSON.stringify({ transaction: 'bench', ...body }),
    })
    return (await answer.json()) as Answer
  }
  await until(
    async () => (await ask('', { janus: 'ping' })).janus === 'pong',
    child,
    () => printed,
  )

  const sessions: number[] = []

  async function join_(own: number, name: string): Promise<number> {
    const session = (await ask('', { janus: 'create' })).data!.id
    sessions.push(session)
    const handle = (await ask(`/${session}`, { janus: 'attach', plugin: 'janus.plugin.audiobridge' })).data!.id
    const rtp = { ip: '127.0.0.1', port: own, payload_type: 0 }
    const body = { request: 'join', room, display: name, codec: 'pcmu', rtp }
    await ask(`/${session}/${handle}`, { janus: 'message', body })
    // The answer comes as an event of the session; a long poll also keeps the session alive for a minute.
    for (;;) {
      const event = (await (await fetch(`${base}/${session}?maxev=1`)).json()) as Answer
      const data = event.plugindata?.data
      if (data?.rtp?.port) return data.rtp.port
      if (data?.error) throw new Error(`Janus: ${data.error}`)
    }
  }

  return {
    pid: child.pid!,
    join: join_,
    async leave() {
      for (const session of sessions.splice(0)) await ask(`/${session}`, { janus: 'destroy' })
    },
    async close() {
      if (child.exitCode === null) {
        const ended = new Promise(done => child.once('exit', done))
        child.kill('SIGTERM')
        await ended
      }
      rmSync(directory, { recursive: true, force: true })
    },
  }
}

interface Answer {
  janus: string
  data?: { id: number }
  plugindata?: { data: { rtp?: { port: number }; error?: string } }
}

async function until(fact: () => Promise<boolean>, child: ChildProcess, printed: () => string): Promise<void> {
  for (let tries = 0; tries < 100; tries++) {
    if (child.exitCode !== null) throw new Error(`Janus ended:\n${printed()}`)
    if (await fact().catch(() => false)) return
    await new Promise(done => setTimeout(done, 50))
  }
  throw new Error(`Janus does not answer:\n${printed()}`)
}
