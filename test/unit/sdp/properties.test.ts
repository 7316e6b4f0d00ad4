import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import * as ortc from 'mediasoup/ortc'
import { Refusal } from '../../../src/errors.ts'
import { answerTo, wishesFor } from '../../../src/media/sdp/answer.ts'
import { parse } from '../../../src/media/sdp/description.ts'
import { offerNext } from '../../../src/media/sdp/offer.ts'
import { agree, answerPlain, offerPlain, readPlain, writePlain } from '../../../src/media/sdp/plain.ts'
import { consumerCapabilities, offerParameters, producerParameters } from '../../../src/media/sdp/router.ts'
import { profileOf, streamsOf } from '../../../src/media/sdp/streams.ts'
import { readWebRtc } from '../../../src/media/sdp/webrtc.ts'
import { writeWebRtc } from '../../../src/media/sdp/write.ts'
import { browsers, ourTransport, phones, router, text } from '../../support/sdp.ts'

const key = Buffer.alloc(30, 1).toString('base64')
const both = [
  { kind: 'audio', direction: 'sendrecv', codecs: [] },
  { kind: 'video', direction: 'sendrecv', codecs: [] },
] as const

const hostile = fc.constantFrom('', ' ', '0', '-1', '1e9', 'NaN', 'Infinity', '__proto__', '65536', '4294967296', '\u0000', '*', '~', ';,', ':', '%s', 'é') // biome-ignore format: a list

/** One thing done to a valid description. */
const change = fc.oneof(
  fc.record({ what: fc.constant('line'), at: fc.nat(), with: fc.string({ maxLength: 40 }) }),
  fc.record({ what: fc.constant('drop'), at: fc.nat(), with: fc.constant('') }),
  fc.record({ what: fc.constant('double'), at: fc.nat(), with: fc.constant('') }),
  fc.record({ what: fc.constant('swap'), at: fc.nat(), with: fc.constant('') }),
  fc.record({ what: fc.constant('cut'), at: fc.nat(), with: fc.constant('') }),
  fc.record({ what: fc.constant('word'), at: fc.nat(), with: hostile }),
  fc.record({ what: fc.constant('number'), at: fc.nat(), with: hostile }),
)

function changed(sdp: string, { what, at, with: text }: { what: string; at: number; with: string }): string {
  const lines = sdp.split('\r\n')
  const index = at % lines.length
  if (what === 'line') lines.splice(index, 0, text)
  if (what === 'drop') lines.splice(index, 1)
  if (what === 'double') lines.splice(index, 0, lines[index]!)
  if (what === 'swap') lines.splice(index, 1, ...lines.splice((index * 7) % lines.length, 1, lines[index]!))
  if (what === 'cut') return sdp.slice(0, at % sdp.length)
  if (what === 'word') lines[index] = lines[index]!.replace(/(?<=[ :=])[^ :=]+/, text)
  if (what === 'number') lines[index] = lines[index]!.replace(/\d+/, text)
  return lines.join('\r\n')
}

const spoilt = (names: readonly string[]) =>
  fc
    .tuple(fc.constantFrom(...names), fc.array(change, { minLength: 1, maxLength: 4 }))
    .map(([name, changes]) => changes.reduce(changed, text(name)))

/** Runs `act`; a Refusal is an answer, anything else fails the test. */
function answered(act: () => void): void {
  try {
    act()
  } catch (error) {
    if (!(error instanceof Refusal)) throw error
  }
}

test('a spoilt description of a browser is answered sanely or refused', () => {
  fc.assert(
    fc.property(spoilt(browsers), sdp =>
      answered(() => {
        const session = parse(sdp)
        assert.ok(['webrtc', 'plain'].includes(profileOf(sdp)))
        streamsOf(session)
        const offer = readWebRtc(session)
        const said = answerTo(offer, { transports: [ourTransport()], router, wishes: wishesFor(offer, both), id: '1' })
        const written = parse(writeWebRtc(said))
        assert.deepEqual(
          written.media.map(line => [line.type, line.mid ?? '']),
          offer.lines.map(line => [line.type, line.mid]),
        )
        for (const [index, line] of said.lines.entries()) {
          if (line.rejected) continue
          const parameters = producerParameters(offer.lines[index]!, line)
          const { codecs, encodings } = parameters
          ortc.validateAndNormalizeRtpParameters(parameters)
          ortc.getProducerRtpParametersMapping(parameters, router)
          assert.ok(codecs.length > 0 && encodings!.length <= 4)
          assert.ok(codecs.every(codec => codec.payloadType <= 127 && codec.clockRate > 0))
          consumerCapabilities(offer.lines[index]!, line, router)
        }
        const next = offerNext(said, {
          transports: [ourTransport(), ourTransport(1)],
          wishes: [
            { kind: 'video', direction: 'sendonly', parameters: offerParameters(router, 'video'), transport: 1 },
          ],
          id: '1',
        })
        readWebRtc(parse(writeWebRtc(next)))
      }),
    ),
    { numRuns: 150 },
  )
})

test('a spoilt description of a phone is answered sanely or refused', () => {
  fc.assert(
    fc.property(spoilt(phones), sdp =>
      answered(() => {
        const offer = readPlain(parse(sdp))
        const wish = {
          address: '192.0.2.1',
          rtpPort: 4000,
          rtcpPort: 4001,
          direction: 'sendrecv',
          codecs: [],
          id: '1',
          key,
        } as const
        const said = answerPlain(offer, wish)
        assert.equal(parse(writePlain(said)).media.length, offer.lines.length)
        const remote = agree(said, offer)
        assert.ok(remote.port > 0 && remote.port <= 65_535 && remote.rtcpPort <= 65_535)
        assert.ok((remote.send.ptime ?? 20) >= 10)
        writePlain(offerPlain({ ...wish, previous: said }))
      }),
    ),
    { numRuns: 300 },
  )
})

test('any text at all is refused, never a bug', () => {
  fc.assert(
    fc.property(fc.string({ maxLength: 300 }), body => {
      for (const sdp of [body, `v=0\r\n${body}`, `v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\nm=audio 1 RTP/AVP 0\r\n${body}`]) {
        answered(() => void readWebRtc(parse(sdp)))
        answered(() => void readPlain(parse(sdp)))
        answered(() => void streamsOf(parse(sdp)))
      }
    }),
    { numRuns: 200 },
  )
})

test('what we write is read back the same', () => {
  const direction = fc.constantFrom('sendrecv', 'sendonly', 'recvonly', 'inactive')
  const codecs = fc.shuffledSubarray(['opus', 'G722', 'PCMA', 'PCMU'], { minLength: 1 })
  const port = fc.integer({ min: 1, max: 32_000 }).map(half => 2 * half)
  fc.assert(
    fc.property(direction, codecs, port, fc.boolean(), (way, names, rtpPort, secure) => {
      const wish = { address: '192.0.2.1', rtpPort, rtcpPort: rtpPort + 1, direction: way, codecs: names, id: '77' }
      const offer = offerPlain(secure ? { ...wish, key } : wish)
      const read = readPlain(parse(writePlain(offer)))
      assert.deepEqual(
        read.codecs.map(({ ptime: _, ...codec }) => codec),
        offer.codecs,
      )
      assert.deepEqual([read.direction, read.port, read.rtcpPort, read.dtmf], [way, rtpPort, rtpPort + 1, offer.dtmf])
      assert.deepEqual(read.crypto, secure ? [offer.crypto] : [])
    }),
  )
})

test('a large offer that means harm costs little', () => {
  const patterns = [`a=simulcast:send ${'recv '.repeat(2000)}`, `a=ptime:${'1.'.repeat(4000)}x`, `a=imageattr:97 send ${'[a] '.repeat(2500)}x`,
    `a=fmtp:111 ${'a=b;'.repeat(2500)}`, `a=rid:${'a'.repeat(10_000)}!`, `a=extmap:1 ${' '.repeat(10_000)}`, `a=floorid:${' m-stream'.repeat(1000)}`] // biome-ignore format: a list
  for (const pattern of patterns) {
    const sdp = `${text('chromium-audio')}${`${pattern}\r\n`.repeat(20)}`
    const began = process.cpuUsage()
    answered(() => void readWebRtc(parse(sdp)))
    assert.ok(process.cpuUsage(began).user < 200_000, pattern.slice(0, 30))
  }
})
