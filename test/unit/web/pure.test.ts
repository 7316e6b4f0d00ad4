import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { computeResponse, parseDigest, writeChallenge } from '../../../src/auth/digest.ts'
import { answerChallenge, ha1Of, md5, realmOf } from '../../../src/web/digest.ts'
import {
  chooseServer,
  loadProfiles,
  type Profile,
  saveProfiles,
  serverName,
  serversCookie,
  withProfile,
} from '../../../src/web/profiles.ts'
import { judge, sampleOf } from '../../../src/web/quality.ts'
import { chooseLanguage, clock, languages, speak } from '../../../src/web/texts/texts.ts'

const profile = (id: string, servers: string[], user = id): Profile => ({
  id,
  name: id,
  servers,
  user,
  domain: 'example.org',
  displayName: '',
  ha1: 'x',
})

describe('digest in the browser', () => {
  it('hashes as everybody else does', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 200 }), text => {
        assert.equal(md5(text), createHash('md5').update(text).digest('hex'))
      }),
    )
  })

  it('answers a challenge so that the server finds it right', () => {
    const challenge = writeChallenge({
      realm: 'example.org',
      nonce: 'abc',
      opaque: 'o',
      algorithm: 'MD5',
      stale: false,
    })
    const ha1 = ha1Of('Mum', 'example.org', 'pass wörd 🙂')
    assert.equal(ha1, md5('mum:example.org:pass wörd 🙂'))
    assert.equal(realmOf(challenge), 'example.org')
    const request = { method: 'POST', uri: '/api/phone/session', cnonce: 'c' }
    const answer = parseDigest(answerChallenge(challenge, { user: 'mum', ha1 }, request))
    assert.ok(answer)
    assert.equal(computeResponse(answer, request, 'MD5', ha1), answer.response)
  })
})

describe('profiles', () => {
  const reached = (there: string[], delays: Record<string, number> = {}) => {
    const asked: string[] = []
    return {
      asked,
      probe: (server: string) => {
        asked.push(server)
        return new Promise<boolean>(done => setTimeout(() => done(there.includes(server)), delays[server] ?? 0))
      },
    }
  }
  const all = [profile('home', ['a', 'b']), profile('office', ['c'])]

  it('are kept, and only what is one is read back', () => {
    const kept = new Map<string, string>()
    const shelf = { getItem: (key: string) => kept.get(key) ?? null, setItem: (k: string, v: string) => kept.set(k, v) }
    assert.deepEqual(loadProfiles(shelf), [])
    saveProfiles(shelf, all)
    assert.deepEqual(loadProfiles(shelf), all)
    for (const text of ['nonsense', '{}', '[1,null,{"id":"x"}]']) {
      kept.set('vaartha.profiles', text)
      assert.deepEqual(loadProfiles(shelf), [])
    }
  })

  it('take the first server that answers, in their order', async () => {
    for (const [there, wanted, asked] of [
      [['a', 'c'], 'a', 'a'],
      [['b', 'c'], 'b', 'ab'],
      [['c'], 'c', 'abc'],
      [[], undefined, 'abc'],
    ] as const) {
      const run = reached([...there])
      assert.equal((await chooseServer(all, run.probe, 1000))?.server, wanted)
      assert.equal(run.asked.join(''), asked)
    }
  })

  it('do not wait for a server that says nothing, and give an earlier one that answers late its chance', async () => {
    const silent = reached(['b'], { a: 200 })
    assert.equal((await chooseServer(all, silent.probe, 5))?.server, 'b')
    const late = reached(['a', 'c'], { a: 30, b: 200, c: 200 })
    assert.equal((await chooseServer(all, late.probe, 5))?.server, 'a')
  })

  it('replace the same person and gather its servers', () => {
    const again = withProfile(all, { ...profile('other', ['z'], 'home'), ha1: 'new' })
    assert.equal(again.length, 2)
    assert.deepEqual(again[0]?.servers, ['z', 'a', 'b'])
    assert.equal(again[0]?.ha1, 'new')
    assert.equal(again[0]?.id, 'home')
    assert.equal(withProfile(all, profile('new', ['n'])).length, 3)
  })

  it('name their servers for the policy, without the own one', () => {
    assert.equal(serversCookie(all, 'a'), 'b~c')
    assert.equal(serversCookie([], 'a'), '')
  })

  it('read what people type as a server', () => {
    assert.equal(serverName(' https://Office.Example/x '), 'office.example')
    assert.equal(serverName('192.168.1.5:8443'), '192.168.1.5:8443')
    assert.equal(serverName('[fd00::1]:8443'), '[fd00::1]:8443')
    for (const wrong of ['', 'a b', 'http://', 'x;y', 'a~b']) assert.equal(serverName(wrong), undefined, wrong)
  })
})

describe('quality', () => {
  const sample = (received: number, lost: number, jitter = 0.01, roundTrip = 0.05) => ({
    at: received,
    received,
    lost,
    jitter,
    roundTrip,
  })
  it('is told in words', () => {
    const before = sample(100, 10)
    assert.equal(judge(undefined, before, true), 'unknown')
    assert.equal(judge(before, sample(200, 10), false), 'unknown')
    assert.equal(judge(before, sample(200, 10), true), 'good')
    assert.equal(judge(before, sample(197, 13), true), 'some-loss')
    assert.equal(judge(before, sample(180, 30), true), 'bad')
    assert.equal(judge(before, sample(200, 10, 0.08), true), 'delayed')
    assert.equal(judge(before, sample(200, 10, 0.01, 2), true), 'bad')
    assert.equal(judge(before, sample(100, 10), true), 'silent')
    // A connection that was made anew begins to count at nothing.
    assert.equal(judge(sample(100, 50), sample(150, 0), true), 'good')
  })
  it('adds up what a browser reports', () => {
    const report = [
      { type: 'inbound-rtp', kind: 'audio', packetsReceived: 5, packetsLost: 1, jitter: 0.1 },
      { type: 'inbound-rtp', kind: 'video', packetsReceived: 50 },
      { type: 'inbound-rtp', kind: 'audio', packetsReceived: 6, jitter: 0.2 },
      { type: 'candidate-pair', nominated: true, currentRoundTripTime: 0.3 },
      { type: 'candidate-pair', currentRoundTripTime: 3 },
    ]
    assert.deepEqual(sampleOf(report, 9), { at: 9, received: 11, lost: 1, jitter: 0.2, roundTrip: 0.3 })
  })
})

describe('texts', () => {
  it('are complete in each language, with the same places to fill in', () => {
    const places = (text: string) => (text.match(/\{\w+\}/g) ?? []).sort().join()
    const english = languages['en']!
    for (const [tag, texts] of Object.entries(languages)) {
      assert.deepEqual(Object.keys(texts).sort(), Object.keys(english).sort(), tag)
      for (const [key, text] of Object.entries(texts)) {
        const wanted = english[key as keyof typeof english]
        assert.equal(places(text), places(wanted), `${tag} ${key}`)
        assert.equal(text === '', wanted === '', `${tag} ${key} is empty`)
      }
    }
    assert.ok(Object.keys(languages).length >= 2)
  })
  it('speak the language that is wished for', () => {
    assert.equal(chooseLanguage(['fr-FR', 'de-AT', 'en']), 'de')
    assert.equal(chooseLanguage(['fr']), 'en')
    assert.equal(speak('en')('callName', { name: 'Mum' }), 'Call Mum')
    assert.equal(speak('xx')('call'), 'Call')
  })
  it('write times', () => {
    assert.deepEqual([0, 95.9, 3600, -1].map(clock), ['0:00', '1:35', '1:00:00', '0:00'])
  })
})
