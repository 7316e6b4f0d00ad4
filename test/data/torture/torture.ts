// The messages that RFC 4475 describes, written anew from its descriptions with hosts, names and values of our own.

export interface Torture {
  /** The name RFC 4475 gives the message. */
  name: string
  section: string
  bytes: Buffer
  /** What a server does: handles it, answers with this status, or drops it (a malformed response). */
  expect: 'accept' | number | 'drop'
  note: string
}

interface Parts {
  line?: string
  method?: string
  uri?: string
  via?: string
  from?: string
  to?: string
  callId?: string
  cseq?: string
  hops?: string
  more?: string[]
  body?: string
  length?: string
}

/** A sound message in which only the named parts differ; an empty part leaves its header out. Text is byte text. */
function build(parts: Parts): string {
  const method = parts.method ?? 'OPTIONS'
  const body = parts.body ?? ''
  const headers: [string, string][] = [
    ['Via', parts.via ?? 'SIP/2.0/UDP lab.home.example:5082;branch=z9hG4bKtorture'],
    ['Max-Forwards', parts.hops ?? '70'],
    ['From', parts.from ?? 'Asha <sip:asha@home.example>;tag=f17'],
    ['To', parts.to ?? '<sip:ravi@home.example>'],
    ['Call-ID', parts.callId ?? 'torture.1@lab.home.example'],
    ['CSeq', parts.cseq ?? `31 ${method}`],
  ]
  const named = headers.filter(([, value]) => value !== '').map(([name, value]) => `${name}: ${value}`)
  const length = parts.length ?? String(body.length)
  const lines = [
    parts.line ?? `${method} ${parts.uri ?? 'sip:ravi@home.example'} SIP/2.0`,
    ...named,
    ...(parts.more ?? []),
  ]
  if (length !== '') lines.push(`Content-Length: ${length}`)
  return `${lines.join('\r\n')}\r\n\r\n${body}`
}

const sdp = 'v=0\r\no=asha 1 1 IN IP4 192.0.2.9\r\ns=-\r\nc=IN IP4 192.0.2.9\r\nt=0 0\r\nm=audio 4002 RTP/AVP 0\r\n'
const typed = ['Contact: <sip:asha@lab.home.example>', 'Content-Type: application/sdp']
const invite = (parts: Parts): string => build({ method: 'INVITE', more: typed, body: sdp, ...parts })
const register = (parts: Parts): string =>
  build({ method: 'REGISTER', uri: 'sip:home.example', to: '<sip:asha@home.example>', ...parts })
const response = (line: string, parts: Parts = {}): string => build({ line, cseq: '31 INVITE', ...parts })

const strange = "!odd-Method0123456789_*+`.%honest'~"
const long = (word: string, times: number) => word.repeat(times)

const table: [name: string, section: string, text: string, expect: Torture['expect'], note: string][] = [
  [
    'wsinv',
    '3.1.1.1',
    `INVITE sip:ravi@home.example;pace=slow SIP/2.0\r\nTO :\r\n sip:ravi@home.example ;   tag = 77k\r\nfrom   : "Asha \\\\\\""       <sip:asha@home.example>\r\n  ;\r\n  tag = 9a\r\nMAX-forwards: 0068\r\nCall-ID: ws.1@lab\r\nCSeq: 0012\r\n  INVITE\r\nVia  : SIP  /   2.0\r\n /UDP\r\n    192.0.2.2;branch=z9hG4bKw1\r\ns :\r\nNewFangled:   value\r\n continued\r\nv:  SIP  / 2.0  / TCP     lab.home.example   ;\r\n  branch  =   z9hG4bKw2  ,\r\n SIP / 2.0 / UDP 192.0.2.7;branch= z9hG4bKw3\r\nm:"Quoted <name> \\"" <sip:asha@lab.home.example> ; odd = "x,y" ; q = 0.33\r\nc: application/sdp\r\nl: ${sdp.length}\r\n\r\n${sdp}`,
    'accept',
    'white space, folding, compact names and every order',
  ],
  [
    'intmeth',
    '3.1.1.2',
    build({
      method: strange,
      uri: "sip:1_odd.URI~(so-be!it)&wasn't+it$/mad?,/;;*:&on+has=1,pa$s.wo~d_(no)@home.example",
      to: '"BEL:\\\x07 NUL:\\\x00 DEL:\\\x7f" <sip:ravi@home.example>',
      from: "token1~` token2'+_ token3*%!.- <sip:odd@home.example;p=1>;fromParam''~+*_!.-%=\"\xd1\x80\xd0\xb0\";tag=_t~1",
      more: ["oddHeader-!.%*+_`'~: \xef\xbb\xbf\xe5\xa4\xa7\xe5\x81"],
    }),
    501,
    'every character a token and a URI may hold',
  ],
  [
    'esc01',
    '3.1.1.3',
    invite({ uri: 'sip:sips%3Aravi%40home.example@home.example' }),
    'accept',
    'escapes in the user part',
  ],
  [
    'escnull',
    '3.1.1.4',
    register({
      to: 'sip:null-%00-null@home.example',
      more: ['Contact: <sip:%00@lab.home.example>, <sip:%00%00@lab.home.example>'],
    }),
    'accept',
    'escaped NUL in the user part',
  ],
  ['esc02', '3.1.1.5', build({ method: 'RE%47IST%45R' }), 501, 'a method is not unescaped'],
  [
    'lwsdisp',
    '3.1.1.6',
    build({ from: 'asha<sip:asha@home.example>;tag=1' }),
    'accept',
    'no space after the display name',
  ],
  [
    'longreq',
    '3.1.1.7',
    invite({
      to: `"${long('Ravi the long ', 30)}" <sip:ravi${long('1', 300)}@home.example;p${long('x', 200)}=v>;q${long('y', 300)}=z`,
      callId: `${long('id', 250)}@lab`,
      more: [
        ...typed,
        `Unknown-${long('Long-', 40)}Name: ${long('value ', 100)}`,
        ...Array(30).fill('Via: SIP/2.0/TCP h.example'),
      ],
    }),
    'accept',
    'long names and values, many Via',
  ],
  ['dblreq', '3.1.1.8', register({}) + invite({}), 'accept', 'a second request behind Content-Length is no part of it'],
  [
    'semiuri',
    '3.1.1.9',
    build({ uri: 'sip:ravi;par=v%40home.example@home.example', to: 'sip:ravi@home.example' }),
    'accept',
    'the semicolon belongs to the user part',
  ],
  [
    'transports',
    '3.1.1.10',
    build({
      via: ['UDP', 'SCTP', 'TLS', 'NOVEL', 'TCP']
        .map((t, i) => `SIP/2.0/${t} t${i}.example;branch=z9hG4bK${i}`)
        .join(', '),
    }),
    'accept',
    'unknown transports in Via',
  ],
  [
    'mpart01',
    '3.1.1.11',
    build({
      method: 'MESSAGE',
      more: ['Content-Type: multipart/mixed;boundary=edge'],
      body: '--edge\r\n\r\nhi\r\n--edge\r\n\r\n\x00\x01\xff\r\n\r\n\x80\r\n--edge--',
    }),
    'accept',
    'a binary body of several parts',
  ],
  ['unreason', '3.1.1.12', response('SIP/2.0 200 = 2**3 * 5**2 \xd0\xbd\xd0\xbe'), 'accept', 'UTF-8 in the reason'],
  ['noreason', '3.1.1.13', response('SIP/2.0 100 '), 'accept', 'an empty reason'],
  [
    'badinv01',
    '3.1.2.1',
    invite({
      via: 'SIP/2.0/UDP 192.0.2.15;;,;,,',
      more: ['Contact: "Asha" <sip:asha@home.example>;;;;', 'Content-Type: application/sdp'],
    }),
    400,
    'empty parameters and values',
  ],
  ['clerr', '3.1.2.2', invite({ length: '9999' }), 400, 'Content-Length is larger than the message'],
  ['ncl', '3.1.2.3', invite({ length: '-999' }), 400, 'negative Content-Length'],
  [
    'scalar02',
    '3.1.2.4',
    register({
      cseq: '36893488147419103999 REGISTER',
      hops: '300',
      more: ['Expires: 10000000000000000000000', 'Contact: <sip:a@b.example>;expires=280297596632999'],
    }),
    400,
    'numbers beyond their range in a request',
  ],
  [
    'scalarlg',
    '3.1.2.5',
    response('SIP/2.0 503 Busy', {
      cseq: '9292394834772304023999 OPTIONS',
      more: ['Retry-After: 949302838503028349304023999'],
    }),
    'drop',
    'numbers beyond their range in a response',
  ],
  ['quotbal', '3.1.2.6', invite({ to: '"Ravi K. <sip:ravi@home.example>' }), 400, 'a quote that never closes'],
  ['ltgtruri', '3.1.2.7', invite({ uri: '<sip:ravi@home.example>' }), 400, 'Request-URI in angle brackets'],
  ['lwsruri', '3.1.2.8', invite({ uri: 'sip:ravi@home.example; lr' }), 400, 'white space inside the Request-URI'],
  [
    'lwsstart',
    '3.1.2.9',
    invite({ line: 'INVITE  sip:ravi@home.example  SIP/2.0' }),
    400,
    'two spaces in the request line',
  ],
  [
    'trws',
    '3.1.2.10',
    build({ line: 'OPTIONS sip:ravi@home.example SIP/2.0  ' }),
    400,
    'white space after the version',
  ],
  [
    'escruri',
    '3.1.2.11',
    invite({ uri: 'sip:ravi@home.example?Route=%3Csip:home.example%3E' }),
    400,
    'headers in the Request-URI',
  ],
  [
    'baddate',
    '3.1.2.12',
    invite({ more: ['Date: Fri, 02 Jan 2026 16:00:00 EST', ...typed] }),
    'accept',
    'Date in another zone than GMT: 400 is allowed, but nothing here needs the date',
  ],
  [
    'regbadct',
    '3.1.2.13',
    register({ more: ['Contact: sip:asha@home.example?Route=%3Csip:home.example%3E'] }),
    400,
    "'?' in a Contact without angle brackets",
  ],
  [
    'badaspec',
    '3.1.2.14',
    build({ to: '"Rao, Ravi" < sip:r.rao@home.example >' }),
    400,
    'spaces inside the angle brackets',
  ],
  [
    'baddn',
    '3.1.2.15',
    build({ from: 'Rao, Asha <sip:a.rao@home.example>;tag=43' }),
    400,
    'a comma in an unquoted display name',
  ],
  [
    'badvers',
    '3.1.2.16',
    build({ line: 'OPTIONS sip:ravi@home.example SIP/7.0', via: 'SIP/7.0/UDP lab.home.example;branch=z9hG4bKv' }),
    505,
    'unknown version',
  ],
  ['mismatch01', '3.1.2.17', build({ cseq: '8 INVITE' }), 400, 'CSeq of another method'],
  [
    'mismatch02',
    '3.1.2.18',
    build({ method: 'NOVELMETHOD', cseq: '8 INVITE' }),
    400,
    'the same with an unknown method',
  ],
  ['bigcode', '3.1.2.19', response('SIP/2.0 4294967999 must not break anybody'), 'drop', 'a status that is no status'],
  [
    'badbranch',
    '3.2.1',
    build({ via: 'SIP/2.0/UDP lab.home.example;branch=z9hG4bK' }),
    'accept',
    'a branch that is nothing but the cookie',
  ],
  ['insuf', '3.3.1', invite({ callId: '', from: '', to: '' }), 400, 'mandatory headers are missing'],
  ['unkscm', '3.3.2', build({ uri: 'nobodyHasThisScheme:allopaque' }), 416, 'unknown scheme in the Request-URI'],
  ['novelsc', '3.3.3', build({ uri: 'soap.beep://192.0.2.103:3002' }), 416, 'a scheme that is known, but not for SIP'],
  [
    'unksm2',
    '3.3.4',
    register({ to: '<isbn:2983792999>', from: '<http://www.home.example>;tag=3', more: ['Contact: <name:Asha_Rao>'] }),
    404,
    'unknown schemes in To, From and Contact',
  ],
  [
    'bext01',
    '3.3.5',
    build({ more: ['Require: nobodySupportsThis, norThis', 'Proxy-Require: noProxyToo'] }),
    420,
    'unknown extensions',
  ],
  [
    'invut',
    '3.3.6',
    invite({ more: ['Content-Type: application/unheardof', 'Contact: <sip:a@lab.example>'], body: '<x/>' }),
    415,
    'unknown type of body',
  ],
  [
    'regaut01',
    '3.3.7',
    register({ more: ['Authorization: UnheardOfScheme opaque-data=here'] }),
    401,
    'unknown scheme of credentials',
  ],
  [
    'multi01',
    '3.3.8',
    invite({
      more: [
        ...typed,
        'CSeq: 59 INVITE',
        'Call-ID: second@lab',
        'Max-Forwards: 5',
        'From: <sip:b@c.example>;tag=2',
        'To: <sip:d@e.example>',
      ],
    }),
    400,
    'several values of headers that have one',
  ],
  [
    'mcl01',
    '3.3.9',
    build({ more: ['Content-Length: 13'], length: '5', body: 'There is no way to know' }),
    400,
    'two lengths',
  ],
  [
    'bcast',
    '3.3.10',
    response('SIP/2.0 200 OK', {
      via: 'SIP/2.0/UDP 192.0.2.198;branch=z9hG4bKb1, SIP/2.0/UDP 255.255.255.255;branch=z9hG4bKb2',
    }),
    'accept',
    'well-formed; must not be sent to the broadcast address',
  ],
  ['zeromf', '3.3.11', build({ hops: '0' }), 'accept', 'fine where it ends; a proxy answers 483'],
  [
    'cparam01',
    '3.3.12',
    register({ more: ['Contact: sip:+19725552999@gw.home.example;unknownparam'] }),
    'accept',
    'unknown Contact parameter',
  ],
  [
    'cparam02',
    '3.3.13',
    register({ more: ['Contact: <sip:+19725552999@gw.home.example;unknownparam>'] }),
    'accept',
    'unknown URI parameter',
  ],
  [
    'regescrt',
    '3.3.14',
    register({ more: ['Contact: <sip:asha@home.example?Route=%3Csip:home.example%3E>'] }),
    'accept',
    'headers in the URI of a Contact',
  ],
  [
    'sdp01',
    '3.3.15',
    invite({ more: [...typed, 'Accept: text/nobodyKnowsThis'] }),
    406,
    'Accept leaves out session descriptions',
  ],
  [
    'inv2543',
    '3.4.1',
    invite({ via: 'SIP/2.0/UDP lab.home.example', from: 'sip:asha@home.example', hops: '', length: '' }),
    'accept',
    'RFC 2543: no branch, tag, Max-Forwards, Content-Length',
  ],
]

export const torture: Torture[] = table.map(([name, section, text, expect, note]) => {
  return { name, section, bytes: Buffer.from(text, 'latin1'), expect, note }
})
