import { checkMessage, parseMessage } from '../../src/sip/engine/message/parser.ts'
import { limits } from '../support/limits.ts'

// Messages a second and CPU time per message: parsing with the values every transaction reads, the whole check, and
// what a proxy does besides (copy, add a Via, write).

const common = [
  'Via: SIP/2.0/UDP 192.168.1.20:5060;branch=z9hG4bK77asjd8f7;rport',
  'Max-Forwards: 70',
  'From: "Asha Rao" <sip:asha@home.example>;tag=7f6a5b4c',
  'To: <sip:ravi@home.example>',
  'Call-ID: 8f7a6b5c4d3e2f1a@192.168.1.20',
  'Contact: <sip:asha@192.168.1.20:5060;transport=udp>;+sip.instance="<urn:uuid:00000000-0000-1000-8000-aabbccddeeff>"',
  'Allow: INVITE, ACK, BYE, CANCEL, OPTIONS, REFER, NOTIFY, INFO, UPDATE',
  'User-Agent: Bench/1.0',
]
const sdp = `v=0\r\no=- 1 1 IN IP4 192.168.1.20\r\ns=-\r\nc=IN IP4 192.168.1.20\r\nt=0 0\r\nm=audio 4000 RTP/AVP 96 0 8 101\r\n${'a=rtpmap:96 opus/48000/2\r\n'.repeat(8)}`
const make = (line: string, cseq: string, body = '') =>
  Buffer.from([line, ...common, `CSeq: ${cseq}`, `Content-Length: ${body.length}`, '', body].join('\r\n'))

const messages = {
  REGISTER: make('REGISTER sip:home.example SIP/2.0', '2 REGISTER'),
  'INVITE with SDP': make('INVITE sip:ravi@home.example SIP/2.0', '1 INVITE', sdp),
  '200 OK': make('SIP/2.0 200 OK', '1 INVITE'),
}

function parse(bytes: Buffer) {
  const message = parseMessage(bytes, limits)
  void [message.via, message.from, message.to, message.cseq]
  return message
}
const works: Record<string, (bytes: Buffer) => unknown> = {
  parse,
  'parse and check': bytes => checkMessage(parseMessage(bytes, limits)),
  'parse, copy, add Via, write': bytes => {
    const copy = parse(bytes).clone()
    copy.prepend('Via', 'SIP/2.0/UDP 192.168.1.1:5060;branch=z9hG4bKbench')
    return copy.toBuffer()
  },
}

for (const [work, run] of Object.entries(works)) {
  for (const [name, bytes] of Object.entries(messages)) {
    for (let i = 0; i < 20000; i++) run(bytes)
    const cpu = process.cpuUsage()
    const begin = performance.now()
    let count = 0
    for (; performance.now() - begin < 400; count += 500) for (let i = 0; i < 500; i++) run(bytes)
    const seconds = (performance.now() - begin) / 1000
    const { user, system } = process.cpuUsage(cpu)
    const rate = Math.round(count / seconds).toLocaleString('en')
    const each = ((user + system) / count).toFixed(2)
    process.stdout.write(`${work}: ${name} (${bytes.length} bytes): ${rate} messages/s, ${each} CPU µs each\n`)
  }
}
