import { array, boolean, closed, integer, object, type Schema, type Static, string, word } from '../schema.ts'

// Every setting: its type, its default and one sentence. The JSON schema that checks a file, the types that the rooms
// see and docs/config.md all come from here.

function section<P extends Record<string, Schema<unknown>>>(description: string, properties: P) {
  return object(properties, { ...closed, description, default: {} })
}
const text = (value: string, description: string) => string({ default: value, description })
const flag = (value: boolean, description: string) => boolean({ default: value, description })
const whole = (value: number, minimum: number, maximum: number, description: string) =>
  integer({ default: value, minimum, maximum, description })
const list = (description: string, value: string[] = []) => array(string(), { default: value, description })
const oneOf = <const W extends string>(words: readonly W[], value: W, description: string) =>
  word(words, { default: value, description })
const port = (value: number, description: string) => whole(value, 0, 65535, description)

const network = section('Which addresses of this machine the server uses.', {
  listen: list(
    'Addresses or interface names to listen on. Empty: every real interface (no Docker, bridge or VPN interfaces) and loopback.',
  ),
  include: list('Interfaces to use although they look virtual, for example `wg0` or `br0`.'),
  allow: list(
    'CIDR ranges that may talk to the server besides loopback, private and link-local ones. `0.0.0.0/0` and `::/0` open it to everybody.',
  ),
  publicAddress: text(
    '',
    'The address that callers from outside the LAN reach this server at, when a router forwards to it.',
  ),
})

const limits = section('Hard limits on what a SIP message may hold; what is larger is refused.', {
  messageBytes: whole(65535, 1024, 1048576, 'Largest message, start line to end of body, in bytes.'),
  headerBytes: whole(8192, 256, 65535, 'Largest single header line, in bytes.'),
  headers: whole(128, 16, 1024, 'Most header lines in one message.'),
  values: whole(64, 8, 512, 'Most comma-separated values of one header, for example Via or Route.'),
  uriBytes: whole(2048, 128, 16384, 'Longest URI, in bytes.'),
  parameters: whole(64, 8, 512, 'Most parameters of one URI or header value.'),
})

const timers = section('SIP timers (RFC 3261 section 17, table 4), in milliseconds.', {
  t1: whole(500, 1, 10000, 'T1, the round-trip estimate.'),
  t2: whole(4000, 1, 60000, 'T2, the longest interval between retransmissions.'),
  t4: whole(5000, 1, 60000, 'T4, how long a message stays in the network.'),
  timerC: whole(180000, 1000, 600000, 'Timer C, how long a proxied INVITE may ring without news.'),
})

const connections = section('TCP, TLS and WebSocket connections.', {
  most: whole(20000, 1, 1000000, 'Most connections open at once.'),
  mostPerAddress: whole(200, 1, 1000000, 'Most connections open from one address.'),
  idleSeconds: whole(
    900,
    1,
    86400,
    'A connection without any traffic, keep-alives included, is closed after this time.',
  ),
  connectSeconds: whole(10, 1, 120, 'How long opening a connection, TLS handshake included, may take.'),
})

const sip = section('The SIP engine and its transports.', {
  engine: oneOf(['embedded', 'drachtio'], 'embedded', 'The engine in this process, or an external drachtio-server.'),
  udp: port(5060, 'UDP port; 0 turns UDP off.'),
  tcp: port(5060, 'TCP port; 0 turns TCP off.'),
  tls: port(5061, 'TLS port; 0 turns TLS off.'),
  ws: port(
    0,
    'Port of a plain WebSocket listener; 0 turns it off. Browsers use `/sip` on the HTTP and HTTPS ports instead.',
  ),
  wss: port(0, 'Port of a secure WebSocket listener of its own; 0 turns it off.'),
  udpMaxBytes: whole(
    1300,
    576,
    65507,
    'A request larger than this goes over TCP where the target allows it (RFC 3261 section 18.1.1).',
  ),
  userAgent: text('Vaartha', 'Text of the Server and User-Agent headers; empty leaves them out.'),
  limits,
  timers,
  connections,
  drachtio: section('Where the external drachtio-server listens, when `engine` is `drachtio`.', {
    host: text('127.0.0.1', 'Host of its admin port.'),
    port: port(9022, 'Its admin port.'),
    secret: text('', 'Its admin secret; there is no default.'),
  }),
})

const registrar = section('Registrations (RFC 3261 section 10).', {
  minExpires: whole(60, 1, 86400, 'Shortest registration, in seconds; a shorter wish gets 423 (Interval Too Brief).'),
  maxExpires: whole(3600, 60, 604800, 'Longest registration, in seconds; a longer wish is cut to it.'),
  defaultExpires: whole(3600, 60, 604800, 'Registration time in seconds when the phone names none.'),
  mostContacts: whole(
    10,
    1,
    100,
    'Most contacts one account may register; of more, the one renewed longest ago gives way.',
  ),
})

const auth = section('Proof of identity (RFC 3261 section 22, RFC 8760).', {
  md5: flag(true, 'Accept MD5, offered after SHA-256 for phones that know nothing better.'),
  md5Agents: list(
    'How the User-Agent of phones begins that give up when they are offered SHA-256 at all; these are offered MD5 alone.',
    ['baresip v0.', 'baresip v1.', 'SIPp', 'JsSIP', 'SIP.js'],
  ),
  nonceSeconds: whole(300, 10, 86400, 'How long a nonce may be used.'),
  failures: whole(
    20,
    1,
    10000,
    'Wrong passwords from one address within `failureSeconds` before it is banned for a while.',
  ),
  failureSeconds: whole(60, 1, 86400, 'The window in which wrong passwords are counted, in seconds.'),
  banSeconds: whole(
    300,
    1,
    86400,
    'How long a banned address is answered 403, in seconds; those who proved themselves from it before are let through.',
  ),
})

const store = section('Where registrations live.', {
  redis: text(
    '',
    'Redis URL, for example `redis://127.0.0.1:6379/0`, `rediss://` for TLS, `redis-sentinel://host,host/master`; several ' +
      'with commas between are nodes of a Redis Cluster. Empty: in memory with a journal in the data directory.',
  ),
  prefix: text('vaartha', 'Prefix of all Redis keys.'),
  timeoutMs: whole(
    1000,
    10,
    60000,
    'How long Redis may take for a command, in milliseconds, before it counts as away and registrations go on in memory.',
  ),
})

const cluster = section('Several nodes that share Redis, so that a server may die and the calls go on.', {
  name: text('', 'Name of this node among the others, for example `a`; empty: a node by itself. Needs `store.redis`.'),
  secret: text(
    '',
    'Shared by all nodes, at least 24 characters, there is no default: nodes prove themselves with it and seal what they share.',
  ),
  otherSecrets: list('Secrets of other nodes that are believed too, while `cluster.secret` is changed node by node.'),
  priority: whole(
    10,
    1,
    65535,
    'Place in DNS (RFC 2782) and for shared names: the lowest of those that are up is the active one.',
  ),
  roles: list('What this node does: `sip`, `media` or both.', ['sip', 'media']),
  address: text('', 'Address that the other nodes reach this one at; empty: the first one of this machine.'),
  port: port(5070, 'TCP port on `address` for requests between nodes; 0 takes a free one.'),
  nats: text(
    '',
    'NATS URLs with commas between, for example `nats://127.0.0.1:4222`; empty: nodes talk directly and through Redis.',
  ),
  replication: oneOf(
    ['none', 'lazy', 'hot-standby'],
    'hot-standby',
    'What is kept of a call: nothing; its state soon after, found when a request for it comes; its state before the caller hears the answer, adopted when its node dies.',
  ),
  heartbeatMs: whole(300, 50, 10000, 'How often a node says that it lives, in milliseconds.'),
  leaseMs: whole(1500, 200, 60000, 'How long a node is believed to live after that; at least three heartbeats.'),
  drainSeconds: whole(60, 0, 3600, 'How long a node that is told to stop waits for calls that cannot be moved.'),
  returnSeconds: whole(30, 0, 3600, 'Over how long a node that came back takes up its share of new work.'),
  drill: oneOf(
    ['never', 'monthly'],
    'never',
    'Whether the leader lets the active node drain once a month, with test calls, while nobody talks (docs/drill.md).',
  ),
  drillHour: whole(4, 0, 23, 'In which hour of the day, of the clock of the machine.'),
})

const calls = section('Calls between registered people.', {
  ringSeconds: whole(60, 5, 600, 'How long a phone may ring before the caller hears that nobody answers.'),
  most: whole(1000, 1, 1000000, 'Most calls at once; the next one gets 503.'),
  mostForks: whole(10, 1, 100, 'Most contacts that one call rings.'),
  mostRedirects: whole(5, 0, 20, 'Most 3xx redirections that one call follows.'),
  sessionExpires: whole(1800, 90, 86400, 'Session timer that is asked for on each leg, in seconds (RFC 4028).'),
  minSe: whole(90, 90, 86400, 'Shortest session timer accepted, in seconds (RFC 4028 section 5).'),
  historyDays: whole(365, 1, 36500, 'How many days call records are kept.'),
  browserMedia: oneOf(
    ['direct', 'relay'],
    'direct',
    'Whether two browsers send to each other directly, or always through this server.',
  ),
  record: oneOf(
    ['never', 'admins', 'everybody'],
    'admins',
    'Who may have a call recorded, by `*9` or in the API: nobody, administrators, or each of the two in it.',
  ),
  musicOnHold: flag(true, 'Play music to who is put on hold, where the media passes this server.'),
})

const media = section('Voice and video that goes through this server: browsers with phones, meetings, recordings.', {
  workers: whole(0, 0, 256, 'SFU worker processes; 0 is one for each processor core.'),
  port: port(44400, 'UDP and TCP port for the media of browsers; each further worker takes the next one.'),
  rtpPorts: text('45000-45999', 'UDP ports for the media of plain phones, first to last.'),
  trunkPorts: text('46000-46999', 'Loopback UDP ports between the SFU workers and the audio thread, first to last.'),
  speakers: whole(3, 1, 8, 'How many people may be heard at once in a meeting.'),
  opus: section('Opus, where this program encodes it: mixes, recordings, G.711 and G.722 phones heard by browsers.', {
    complexity: whole(5, 0, 10, 'How much work it may take; 10 costs twice as much as 5 and is hard to tell from it.'),
    bitrate: whole(32_000, 6000, 256_000, 'Bits per second.'),
  }),
  build: oneOf(
    ['auto', 'never'],
    'auto',
    'Whether the SFU worker may be built on this machine where no prebuilt one can be had.',
  ),
  mixer: oneOf(['embedded', 'freeswitch'], 'embedded', 'What mixes meetings: this program, or a FreeSWITCH.'),
  freeswitch: section('Where FreeSWITCH listens, when `mixer` is `freeswitch`.', {
    host: text('127.0.0.1', 'Host of its event socket.'),
    port: port(8021, 'Port of its event socket.'),
    secret: text('', 'Its event socket password; there is no default.'),
  }),
})

const messages = section('Text messages between phones (RFC 3428).', {
  enabled: flag(true, 'Take messages; otherwise they get 405.'),
  mostBytes: whole(
    1300,
    1,
    60000,
    'Longest text of one message, in bytes; a longer one gets 413 (RFC 3428 section 8).',
  ),
  keepDays: whole(
    7,
    0,
    365,
    'How many days a message waits for a person who is not there; 0: it gets 480 instead of being kept.',
  ),
  mostKept: whole(200, 1, 10000, 'Most messages that wait for one person; the next one gets 480.'),
  mostKeptInAll: whole(20000, 1, 1000000, 'Most messages that wait for all people together.'),
})

const groups = section('Groups and meetings.', {
  most: whole(100, 2, 10000, 'Most people in one meeting, unless the group says otherwise.'),
  meshMost: whole(8, 2, 16, 'Most people whose browsers send to each other directly; one more moves all to the SFU.'),
  meshBack: whole(6, 2, 16, 'So many or fewer for ten seconds go back from the SFU to sending directly.'),
})

const discovery = section('mDNS on the local network.', {
  enabled: flag(true, 'Announce this server on the local network.'),
  name: text('vaartha', 'Host name to claim under `.local`; `-2`, `-3` … is added while another host has it.'),
})

const http = section('HTTP and HTTPS.', {
  enabled: flag(true, 'Serve HTTP and HTTPS.'),
  port: whole(-1, -1, 65535, 'HTTP port; -1 is 80 where that may be opened and else 8080, 0 is off.'),
  securePort: whole(-1, -1, 65535, 'HTTPS port; -1 is 443 where that may be opened and else 8443, 0 is off.'),
  metrics: oneOf(
    ['loopback', 'admin', 'lan', 'off'],
    'loopback',
    'Who may read `/metrics`: this machine, administrators, the whole LAN, nobody.',
  ),
})

const certificates = section('TLS. Without files a local certificate authority is made at the first start.', {
  cert: text('', 'PEM file with the server certificate and its chain.'),
  key: text('', 'PEM file with its private key.'),
  names: list('More names and addresses for the certificate that the local authority makes.'),
})

const log = section('Logging.', {
  level: oneOf(['trace', 'debug', 'info', 'warn', 'error', 'silent'], 'info', 'The least important messages to log.'),
  format: oneOf(
    ['auto', 'json', 'pretty'],
    'auto',
    'One JSON object a line, or text for people; `auto` is text on a terminal.',
  ),
})

export const configSchema = object(
  {
    domain: text(
      'vaartha.local',
      'The SIP domain of the accounts. Passwords are bound to it: set it before the first account is made.',
    ),
    data: text('data', 'Directory for accounts, registrations, certificates and secrets, readable by its owner only.'),
    network,
    sip,
    registrar,
    auth,
    store,
    cluster,
    calls,
    media,
    messages,
    groups,
    discovery,
    http,
    certificates,
    log,
  },
  { ...closed, description: 'Vaartha' },
)

type Frozen<T> = T extends readonly (infer E)[]
  ? readonly Frozen<E>[]
  : T extends object
    ? { readonly [K in keyof T]: Frozen<T[K]> }
    : T

export type Config = Frozen<Static<typeof configSchema>>
export type SipConfig = Config['sip']
export type RegistrarConfig = Config['registrar']
export type Limits = SipConfig['limits']
export type TimerConfig = SipConfig['timers']
