import { randomUUID } from 'node:crypto'
import { type AddressInfo, createServer, connect as dial, type Socket } from 'node:net'
import { createAudioHost } from '../../src/media/audio/host.ts'
import type { FreeSwitchPlace } from '../../src/media/freeswitch-probe.ts'
import { createUdpPeer, type Received, sipResponse } from './sip-peer.ts'

// What drachtio-fsmrf sees of a FreeSWITCH, at its sockets: the event socket, the connection that the dialplan makes for
// each channel, SIP, and RTP that is really mixed, by a mixer of its own as a far machine has one. PCMU only.

export interface FakeFreeSwitch {
  readonly place: FreeSwitchPlace
  /** Offers that it was called with. */
  readonly offers: string[]
  /** Where it was told to connect to. */
  readonly callbacks: string[]
  channels(): number
  conferences(): number
  /** Ends one call, as an operator may. */
  kick(): void
  /** It accepts what comes and says nothing any more. */
  hang(): void
  /** All its sockets close at once, as those of a process that was killed. */
  die(): Promise<void>
}

interface Channel {
  uuid: string
  end: string
  esl: Socket
  subscribed: string
  conference: string | undefined
  member: number
  bye(): void
}

export interface FakeOptions {
  /** The UDP port of the SIP engine that calls it. */
  sip: number
  /** Of the event socket; free when left out. */
  port?: number
  profile?: string
}

export async function startFakeFreeSwitch(options: FakeOptions): Promise<FakeFreeSwitch> {
  const secret = 'open sesame'
  const channels = new Map<string, Channel>()
  const conferences = new Map<string, Promise<string>>()
  const inbound = new Set<Socket>()
  const offers: string[] = []
  const callbacks: string[] = []
  let members = 0
  let hung = false
  const audio = createAudioHost({
    rtpPorts: { first: 38_000, last: 38_499 },
    trunkPorts: { first: 38_500, last: 38_999 },
    now: () => performance.now(),
    emit(event) {
      if (event.type !== 'speaking') return
      for (const channel of channels.values()) {
        if (channel.end === event.end) maintenance(channel, event.on ? 'start-talking' : 'stop-talking')
      }
    },
    async loadMixery() {
      const [{ createMixer }, { loadCodecs }] = await Promise.all([
        import('../../src/media/mix/mixer.ts'),
        import('../../src/media/codec/codec.ts'),
      ])
      return { createMixer, codecs: await loadCodecs() }
    },
    cpuSeconds: () => 0,
  })

  const server = createServer(socket => {
    inbound.add(socket)
    socket.on('error', () => {})
    socket.write('Content-Type: auth/request\n\n')
    onCommands(socket, command => {
      if (command === `auth ${secret}`) reply(socket, '+OK accepted')
      else if (command.startsWith('auth ')) {
        reply(socket, '-ERR invalid')
        socket.end()
      } else if (command === 'api sofia status')
        answer(socket, sofiaStatus(options.profile ?? 'drachtio_mrf', sip.port))
      else if (command === 'api status') answer(socket, 'UP 0 years, 0 days')
      else reply(socket, command.startsWith('event ') || command === 'exit' ? '+OK' : '-ERR command not found')
    })
  })
  server.listen(options.port ?? 0, '127.0.0.1')

  const answered = new Map<string, string>()
  const sip = await createUdpPeer(options.sip, message => {
    const key = message.header('Call-ID')
    const repeated = answered.get(`${message.method} ${key}`)
    if (repeated !== undefined) return sip.send(repeated)
    if (message.method === 'INVITE') void invited(message)
    if (message.method === 'BYE') {
      respond(message, 200)
      channels.get(key)?.bye()
    }
  })

  function respond(request: Received, status: number, body = ''): void {
    const text = sipResponse(request, status, { tag: 'fs', contact: sip.port, body })
    answered.set(`${request.method} ${request.header('Call-ID')}`, text)
    sip.send(text)
  }

  async function invited(request: Received): Promise<void> {
    answered.set(`INVITE ${request.header('Call-ID')}`, sipResponse(request, 100))
    offers.push(request.body)
    callbacks.push(request.header('X-esl-outbound'))
    const address = /^c=IN IP4 (\S+)\r?$/m.exec(request.body)![1]!
    const port = Number(/^m=audio (\d+) /m.exec(request.body)![1])
    const { end, rtpPort } = await audio.openPort('127.0.0.1')
    const pcmu = { payloadType: 0, codec: 'PCMU', clockRate: 8000, channels: 1 } as const
    const line = { address, port, rtcpPort: port + 1, send: pcmu, receive: [pcmu], direction: 'sendrecv' } as const
    await audio.setPort(end, line)
    const lines = [
      'v=0',
      'o=- 1 1 IN IP4 127.0.0.1',
      's=-',
      'c=IN IP4 127.0.0.1',
      't=0 0',
      `m=audio ${rtpPort} RTP/AVP 0`,
    ]
    respond(request, 200, `${lines.join('\r\n')}\r\n`)
    callBack(request, end)
  }

  /** The dialplan: `socket`, to where the caller has said. */
  function callBack(request: Received, end: string): void {
    const [host = '', port = ''] = request.header('X-esl-outbound').split(':')
    const key = request.header('Call-ID')
    const esl = dial(Number(port), host)
    const channel: Channel = {
      uuid: randomUUID(),
      end,
      esl,
      subscribed: '',
      conference: undefined,
      member: 0,
      bye() {
        channels.delete(key)
        esl.end()
        void audio.closeEnd(end).then(() => emptied(channel.conference))
      },
    }
    channels.set(key, channel)
    esl.on('error', () => {})
    onCommands(esl, command => {
      const [verb = '', ...rest] = command.split(' ')
      if (verb === 'connect') return channelData(channel, request)
      if (verb === 'event') channel.subscribed = command
      if (verb === 'api') return answer(esl, order(rest))
      reply(esl, '+OK')
      if (verb === 'sendmsg') void execute(channel, command)
    })
  }

  function channelData({ esl, uuid }: Channel, request: Received): void {
    const data = {
      'Content-Type': 'command/reply',
      'Reply-Text': '+OK',
      'Event-Name': 'CHANNEL_DATA',
      'Channel-Unique-ID': uuid,
      'Unique-ID': uuid,
      variable_sip_user_agent: request.header('User-Agent'),
      variable_switch_r_sdp: request.body,
    }
    const text = Object.entries(data).map(([name, value]) => `${name}: ${encodeURIComponent(value)}\n`)
    esl.write(`${text.join('')}\n`)
  }

  async function execute(channel: Channel, command: string): Promise<void> {
    const argument = /^execute-app-name: conference\nexecute-app-arg: ([^@\n]+)@\w+(\+\+flags\{mute\})?$/m.exec(command)
    // After the first plus there could be a PIN.
    if (argument === null) return
    const name = argument[1]!
    channel.conference = name
    channel.member = ++members
    if (!conferences.has(name)) conferences.set(name, audio.openMix({ speakers: 3 }))
    await audio.join(channel.end, await conferences.get(name)!, { muted: argument[2] !== undefined })
    maintenance(channel, 'add-member')
  }

  /** `conference <name> mute <member>` and the like. */
  function order([module, name, verb, member]: string[]): string {
    const found = [...channels.values()].find(one => one.conference === name && one.member === Number(member))
    if (module !== 'conference' || found === undefined) return `-ERR Conference ${name} not found\n`
    if (verb !== 'mute' && verb !== 'unmute') return '-ERR unknown command\n'
    void audio.mute(found.end, verb === 'mute')
    return `OK ${verb} ${member}\n`
  }

  function maintenance(channel: Channel, action: string): void {
    if (!channel.subscribed.includes('conference::maintenance') || !channel.esl.writable) return
    const event = JSON.stringify({
      'Event-Name': 'CUSTOM',
      'Event-Subclass': 'conference::maintenance',
      'Unique-ID': channel.uuid,
      'Conference-Unique-ID': `uuid-of-${channel.conference}`,
      Action: action,
      'Member-ID': String(channel.member),
    })
    channel.esl.write(`Content-Length: ${event.length}\nContent-Type: text/event-json\n\n${event}`)
  }

  async function emptied(name: string | undefined): Promise<void> {
    if (name === undefined || [...channels.values()].some(one => one.conference === name)) return
    const mix = conferences.get(name)
    conferences.delete(name)
    if (mix !== undefined) await audio.closeMix(await mix)
  }

  function onCommands(socket: Socket, heard: (command: string) => void): void {
    let held = ''
    socket.setEncoding('utf8').on('data', text => {
      held += text
      for (let end = held.indexOf('\n\n'); end >= 0; end = held.indexOf('\n\n')) {
        const command = held.slice(0, end).trim()
        held = held.slice(end + 2)
        if (!hung) heard(command)
      }
    })
  }

  return {
    place: { host: '127.0.0.1', port: (server.address() as AddressInfo).port, secret },
    offers,
    callbacks,
    channels: () => channels.size,
    conferences: () => conferences.size,
    kick: () => [...channels.values()][0]!.bye(),
    hang() {
      hung = true
    },
    async die() {
      server.close()
      for (const socket of [...inbound, ...[...channels.values()].map(channel => channel.esl)]) socket.destroy()
      sip.close()
      await audio.close()
    },
  }
}

function reply(socket: Socket, text: string): void {
  socket.write(`Content-Type: command/reply\nReply-Text: ${text}\n\n`)
}

function answer(socket: Socket, body: string): void {
  socket.write(`Content-Type: api/response\nContent-Length: ${Buffer.byteLength(body)}\n\n${body}`)
}

function sofiaStatus(profile: string, port: number): string {
  const line = '='.repeat(80)
  return `  Name\t   Type\t   Data\tState\n${line}\n  ${profile}\tprofile\t  sip:mod_sofia@127.0.0.1:${port}\tRUNNING (0)\n${line}\n1 profile 0 aliases\n`
}
