import assert from 'node:assert/strict'
import { test } from 'node:test'
import { escapeUser, parseUri, sameUriText, unescapeUser } from '../../../src/sip/engine/message/uri.ts'

// RFC 3261 section 19.1.4, with addresses of our own.
const same: [string, string][] = [
  ['sip:asha@home.example', 'sip:asha@HOME.example'],
  ['SIP:asha@home.example', 'sip:asha@home.example'],
  ['sip:%61sha@home.example;transport=TCP', 'sip:asha@home.example;Transport=tcp'],
  ['sip:asha@home.example', 'sip:asha@home.example;newer=5'],
  ['sip:asha@home.example;newer=5', 'sip:asha@home.example;security=on'],
  ['sip:asha@home.example;a=1;b=2', 'sip:asha@home.example;b=2;a=1'],
  ['sip:asha@home.example?subject=x&priority=urgent', 'sip:asha@home.example?Priority=urgent&subject=x'],
  ['sip:asha@[2001:DB8::1]:5060', 'sip:asha@[2001:db8::1]:5060'],
  ['tel:+1-201-555-0123', 'tel:+1(201)5550123'],
  ['tel:123;phone-context=Home.example', 'tel:123;phone-context=home.example'],
  ['not a uri', 'not a uri'],
]
const different: [string, string][] = [
  ['sip:Asha@home.example', 'sip:asha@home.example'],
  ['sip:asha@home.example', 'sip:home.example'],
  ['sip:asha@home.example', 'sip:asha@home.example:5060'],
  ['sip:asha@home.example', 'sips:asha@home.example'],
  ['sip:asha@home.example', 'sip:asha@home.example;transport=udp'],
  ['sip:asha@home.example;transport=udp', 'sip:asha@home.example;transport=tcp'],
  ['sip:asha@home.example', 'sip:asha@home.example;user=phone'],
  ['sip:asha@home.example', 'sip:asha@home.example;maddr=192.0.2.1'],
  ['sip:asha@home.example', 'sip:asha@home.example;ttl=4'],
  ['sip:asha@home.example', 'sip:asha@home.example;method=INVITE'],
  ['sip:asha@home.example;a=1', 'sip:asha@home.example;a=2'],
  ['sip:asha@home.example', 'sip:asha@home.example?subject=x'],
  ['sip:asha@home.example?subject=x', 'sip:asha@home.example?subject=y'],
  ['sip:as%3Bha@home.example', 'sip:as;ha@home.example'],
  ['sip:asha:secret@home.example', 'sip:asha@home.example'],
  ['sip:asha@192.0.2.1', 'sip:asha@host.example'],
  ['tel:123;phone-context=a', 'tel:123'],
  ['tel:123', 'tel:124'],
  ['not a uri', 'Not a uri'],
  ['sip:a@b', 'sip:a@b '],
]

for (const [a, b] of same) {
  test(`${a} is ${b}`, () => assert.ok(sameUriText(a, b) && sameUriText(b, a)))
}
for (const [a, b] of different) {
  test(`${a} is not ${b}`, () => assert.ok(!sameUriText(a, b) && !sameUriText(b, a)))
}

test('what a person writes comes back from a user part, and every user part is a valid one', () => {
  for (const text of [
    'asha',
    'ravi.k-2',
    'Zoë',
    'आशा',
    'a b',
    '50%',
    'a@b',
    'a;b?c,d',
    'a:b',
    '"<>',
    '#1',
    '😀',
    'a`b',
  ]) {
    const user = escapeUser(text)
    assert.equal(unescapeUser(user), text)
    assert.equal(parseUri(`sip:${user}@home.example`)?.user, user)
  }
})

test('a user part is escaped no more than it must', () => {
  assert.equal(escapeUser("j.o-h_n!~*'"), "j.o-h_n!~*'")
  assert.equal(escapeUser('+123'), '+123')
  assert.equal(escapeUser('é;1'), '%C3%A9%3B1')
})

test('a user part shows as UTF-8, escaped or not, and half an escape as it stands', () => {
  assert.equal(unescapeUser('%C3%A9'), 'é')
  assert.equal(unescapeUser('Ã©'), 'é')
  assert.equal(unescapeUser('100%2'), '100%2')
})
