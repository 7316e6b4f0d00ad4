import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { test } from 'node:test'
import {
  decodeMeeting,
  decodeMember,
  encodeMeeting,
  encodeMember,
  type MeetingSnapshot,
  type MemberSnapshot,
  meetingName,
  memberItem,
  memberName,
  readItem,
} from '../../../src/groups/snapshot.ts'

const hundred = Array.from({ length: 100 }, (_, at) => at + 1)

const meeting: MeetingSnapshot = {
  id: '5f0c2a91',
  user: 'family',
  displayName: 'Family',
  group: {
    name: 'family',
    domain: 'example.org',
    displayName: 'Family',
    members: hundred.map(at => `person-${at}`),
    moderators: ['person-1'],
    ring: 'all',
    record: false,
    announce: true,
    pin: true,
    created: '2026-11-21T07:40:00.000Z',
  },
  began: 1_795_000_000_000,
  locked: true,
  recording: true,
  lastId: 104,
  peak: 100,
  were: hundred.map(at => `sip:person-${at}@example.org`),
  members: hundred,
  shape: { settled: 'mesh', meshed: [1, 2, 3], epoch: 7 },
}

/** As long as what Chromium says to a focus: some audio lines and nine of video. */
function browserSdp(): string {
  const lines = Array.from({ length: 12 }, (_, mid) => [
    `m=${mid < 3 ? 'audio' : 'video'} 9 UDP/TLS/RTP/SAVPF 96 97`,
    'c=IN IP4 0.0.0.0',
    `a=ice-ufrag:${randomBytes(3).toString('base64')}`,
    `a=ice-pwd:${randomBytes(18).toString('base64')}`,
    `a=fingerprint:sha-256 ${randomBytes(32).toString('hex')}`,
    `a=mid:${mid}`,
    ...Array.from({ length: 8 }, (_, at) => `a=extmap:${at} urn:ietf:params:rtp-hdrext:number-${at}`),
    `a=msid:- ${randomBytes(18).toString('hex')}`,
  ])
  return `${['v=0', 's=-', 't=0 0', ...lines.flat()].join('\r\n')}\r\n`
}

function member(sdp = browserSdp()): MemberSnapshot {
  const localSdp = browserSdp()
  return {
    meeting: meeting.id,
    id: 3,
    person: { user: 'mum', displayName: 'Mum Ö.', moderator: true },
    joining: 'dialed-in',
    since: '2026-11-21T07:41:00.000Z',
    muted: true,
    held: false,
    aware: true,
    wantsMesh: true,
    mesh: true,
    contact: 'sip:mum@example.org;gr=urn:uuid:8f1e2c3d-1111-2222-3333-444455556666',
    streams: [{ kind: 'audio', direction: 'sendrecv', codecs: ['opus'] }],
    leg: {
      party: { user: 'mum', displayName: 'Mum Ö.' },
      device: { contact: 'sip:x@y.invalid;transport=ws', registration: 'abc' },
      profile: 'webrtc',
      address: '192.168.178.20',
      anchored: false,
      allow: 'INVITE,ACK,BYE',
      localSdp,
      remoteSdp: sdp,
      dialog: {
        id: 'call;from-tag=theirs',
        caller: false,
        callId: 'call',
        local: '<sip:family@example.org>;tag=ours',
        remote: '<sip:mum@example.org>;tag=theirs',
        localTag: 'ours',
        remoteTag: 'theirs',
        localSequence: 4,
        routes: [],
        target: 'sip:x@y.invalid;transport=ws',
        contact: '<sip:family@192.168.178.2:5060>;isfocus',
        localSdp,
        peerTakesUpdate: true,
        peerKnowsTimer: true,
        source: { protocol: 'wss', address: '192.168.178.20', port: 40_000 },
      },
    },
  }
}

test('a meeting of a hundred, and each member, come back as they were and fit', () => {
  const text = encodeMeeting(meeting)!
  assert.deepEqual(decodeMeeting(text), meeting)
  assert.ok(text.length < 4000, `${text.length} characters`)
  const one = member()
  const told = encodeMember(one)!
  assert.deepEqual(decodeMember(told), one)
  assert.ok(told.length < 16_000, `${told.length} characters`)
})

test('an ad-hoc meeting has no group, and what the engine does not repeat stays away', () => {
  const { group: _, ...rest } = meeting
  assert.deepEqual(decodeMeeting(encodeMeeting({ ...rest, group: undefined })!), rest)
  const one = member()
  const { localSdp: _sdp, ...dialog } = one.leg.dialog
  const quiet = { ...one, leg: { ...one.leg, dialog } }
  assert.deepEqual(decodeMember(encodeMember(quiet)!), quiet)
})

test('how a member follows the roster comes back as it was, and nonsense in its place makes the member unreadable', () => {
  const one = member()
  const dialog = { ...one.leg.dialog, kind: 'SUBSCRIBE' as const }
  const follows = [{ id: 'x;from-tag=1', event: 'conference;id=7', endsAt: 1_795_000_600_000, dialog }]
  assert.deepEqual(decodeMember(encodeMember({ ...one, follows })!), { ...one, follows })
  assert.equal(decodeMember(encodeMember({ ...one, follows: [{ id: 'x' }] as never })!), undefined)
})

test('the next version is read as far as this one knows it, and a later or damaged one is not', () => {
  const small = { ...meeting, were: [], members: [1], group: undefined }
  const text = encodeMeeting(small)!
  const as = (version: number) => text.replace('"version":1', `"version":${version},"mood":"good"`)
  assert.equal(decodeMeeting(as(2))?.id, meeting.id)
  assert.equal(decodeMeeting(as(3)), undefined)
  assert.equal(decodeMeeting(text.slice(0, -1)), undefined)
  assert.equal(decodeMeeting(text.replace('"mesh"', '"ring"')), undefined)
  assert.equal(decodeMeeting(text.replace('"members":[1]', '"members":["1"]')), undefined)
  const told = encodeMember(member('v=0\r\n'))!
  assert.equal(decodeMember(told.slice(3)), undefined)
  assert.equal(decodeMember(text), undefined)
})

test('what is longer than may be kept is not written', () => {
  const noise = randomBytes(80_000).toString('base64')
  assert.equal(encodeMember(member(noise)), undefined)
})

test('items and names tell meetings from members', () => {
  assert.deepEqual(readItem(memberItem('5f0c2a91', 12)), { meeting: '5f0c2a91', member: 12 })
  assert.deepEqual(readItem('5f0c2a91'), { meeting: '5f0c2a91', member: undefined })
  assert.notEqual(memberName('5f0c2a91', 1), meetingName('5f0c2a91'))
})
