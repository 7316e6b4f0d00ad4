import { createSocket } from 'node:dgram'

// The load of engine.bench.ts, in a process of its own: registrations one after the other in some lanes, or whole calls
// (caller and callee) through a B2BUA. Arguments: what, port of the engine, lanes, milliseconds. Says how many were done.

const [what = 'register', port = '5060', lanes = '8', time = '3000'] = process.argv.slice(2)
const sdp = `v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 96 0 8 101\r\n${'a=rtpmap:96 opus/48000/2\r\n'.repeat(8)}`
const caller = createSocket('udp4')
const callee = createSocket('udp4')
let count = 0
let done = 0
const until = Date.now() + Number(time)

await new Promise<void>(resolve => caller.bind(0, '127.0.0.1', resolve))
await new Promise<void>(resolve => callee.bind(0, '127.0.0.1', resolve))
const own = caller.address().port

const headerOf = (text: string, name: string) => new RegExp(`^${name}: (.*)$`, 'mi').exec(text)?.[1]?.trim() ?? ''
const toEngine = (text: string) => caller.send(text, Number(port), '127.0.0.1')

function request(method: string, uri: string, lane: string, call: string, cseq: number, to = '', body = ''): string {
  return [
    `${method} ${uri} SIP/2.0`,
    `Via: SIP/2.0/UDP 127.0.0.1:${own};branch=z9hG4bK${process.pid}-${++count};rport`,
    'Max-Forwards: 70',
    `From: "Asha Rao" <sip:asha@home.example>;tag=f${lane}`,
    `To: ${to === '' ? '<sip:ravi@home.example>' : to}`,
    `Call-ID: ${call}`,
    `CSeq: ${cseq} ${method}`,
    `Contact: <sip:asha@127.0.0.1:${own}>`,
    'Allow: INVITE, ACK, BYE, CANCEL, OPTIONS, REFER, NOTIFY, INFO, UPDATE',
    'User-Agent: Bench/1.0',
    ...(body === '' ? [] : ['Content-Type: application/sdp']),
    `Content-Length: ${body.length}`,
    '',
    body,
  ].join('\r\n')
}

function begin(lane: string): void {
  if (Date.now() >= until) return
  const call = `c${lane}-${process.pid}-${++count}`
  if (what === 'register') toEngine(request('REGISTER', 'sip:home.example', lane, call, 1))
  else toEngine(request('INVITE', `sip:ravi@127.0.0.1:${callee.address().port}`, lane, call, 1, '', sdp))
}

caller.on('message', bytes => {
  const text = bytes.toString('latin1')
  if (!text.startsWith('SIP/2.0 2')) return
  const call = headerOf(text, 'Call-ID')
  const lane = call.slice(1, call.indexOf('-'))
  if (headerOf(text, 'CSeq').endsWith('INVITE')) {
    const to = headerOf(text, 'To')
    const uri = /<([^>]+)>/.exec(headerOf(text, 'Contact'))?.[1] ?? ''
    toEngine(request('ACK', uri, lane, call, 1, to))
    toEngine(request('BYE', uri, lane, call, 2, to))
    return
  }
  done++
  begin(lane)
})

callee.on('message', (bytes, from) => {
  const text = bytes.toString('latin1')
  const method = text.slice(0, text.indexOf(' '))
  if (method === 'ACK' || method === 'SIP/2.0') return
  const body = method === 'INVITE' ? sdp : ''
  const answer = (status: string, content: string) =>
    [
      `SIP/2.0 ${status}`,
      ...[...text.matchAll(/^Via: .*(?=\r)/gm)].map(match => match[0]),
      `From: ${headerOf(text, 'From')}`,
      `To: ${headerOf(text, 'To')}${headerOf(text, 'To').includes('tag=') ? '' : ';tag=b'}`,
      `Call-ID: ${headerOf(text, 'Call-ID')}`,
      `CSeq: ${headerOf(text, 'CSeq')}`,
      `Contact: <sip:ravi@127.0.0.1:${callee.address().port}>`,
      ...(content === '' ? [] : ['Content-Type: application/sdp']),
      `Content-Length: ${content.length}`,
      '',
      content,
    ].join('\r\n')
  if (method === 'INVITE') callee.send(answer('180 Ringing', ''), from.port, from.address)
  callee.send(answer('200 OK', body), from.port, from.address)
})

for (let lane = 0; lane < Number(lanes); lane++) begin(String(lane))
setTimeout(() => {
  process.stdout.write(`${done}\n`)
  process.exit(0)
}, Number(time) + 100)
