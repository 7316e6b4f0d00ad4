import assert from 'node:assert/strict'
import { test } from 'node:test'
import { mayRenumber, renumber } from '../../../src/web/numbers.ts'

const offer = [
  'v=0',
  'm=audio 9 UDP/TLS/RTP/SAVPF 111',
  'a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level',
  'a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid',
  'a=extmap:5 http://www.webrtc.org/experiments/rtp-hdrext/playout-delay',
  '',
].join('\r\n')

test('extensions get the numbers of the server, and others are left out', () => {
  const lines = renumber(offer)
    .split('\r\n')
    .filter(line => line.startsWith('a=extmap'))
  assert.deepEqual(lines, [
    'a=extmap:6 urn:ietf:params:rtp-hdrext:ssrc-audio-level',
    'a=extmap:1 urn:ietf:params:rtp-hdrext:sdes:mid',
  ])
  assert.equal(renumber(renumber(offer)), renumber(offer))
})

test('what was agreed under other numbers keeps them', () => {
  assert.equal(mayRenumber(undefined), true)
  assert.equal(mayRenumber(offer), false)
  assert.equal(mayRenumber(renumber(offer)), true)
})
