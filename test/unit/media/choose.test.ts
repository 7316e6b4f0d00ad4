import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Candidate, type Choice, chooseNodes } from '../../../src/media/nodes/choose.ts'

const net = (address: string) => [{ address, prefix: 24, internal: false }]
const own: Candidate = {
  node: 'a',
  own: true,
  state: 'up',
  there: true,
  sfu: true,
  weight: 1,
  busy: 0,
  addresses: net('192.0.2.1'),
}
const b: Candidate = { ...own, node: 'b', own: false, addresses: net('198.51.100.1') }
const c: Candidate = { ...b, node: 'c', addresses: net('203.0.113.1') }
const choice: Choice = { browser: false, towards: '10.0.0.1', together: undefined, without: [] }

const rows: [name: string, candidates: Candidate[], choice: Partial<Choice>, expected: string[]][] = [
  ['our own node comes first', [b, own, c], {}, ['a', 'b', 'c']],
  ['also when it is a little busier', [{ ...own, busy: 0.2 }, b], {}, ['a', 'b']],
  ['not when it is much busier', [{ ...own, busy: 0.4 }, b], {}, ['b', 'a']],
  ['of others the less busy one', [{ ...b, busy: 0.3 }, c], {}, ['c', 'b']],
  ['the one in the subnet of the party', [b, c], { towards: '203.0.113.77' }, ['c', 'b']],
  ['but not when it is much busier', [b, { ...c, busy: 0.3 }], { towards: '203.0.113.77' }, ['b', 'c']],
  ['an IPv6 party is in no IPv4 subnet', [b, c], { towards: '[2001:db8::1]' }, ['b', 'c']],
  ['an IPv4 party in IPv6 clothes is', [b, c], { towards: '::ffff:203.0.113.5' }, ['c', 'b']],
  ['where the others of the call are, however busy', [own, { ...c, busy: 0.9 }], { together: 'c' }, ['c', 'a']],
  [
    'who drains gets nothing, not even what belongs there',
    [own, { ...b, state: 'draining' }],
    { together: 'b' },
    ['a'],
  ],
  [
    'nor does who is suspect, down, or joining',
    [
      { ...b, state: 'suspect' },
      { ...c, state: 'down' },
    ],
    {},
    [],
  ],
  ['nor who does not answer', [{ ...b, there: false }, c], {}, ['c']],
  ['our own that drains is better than nobody', [{ ...own, state: 'draining' }], {}, ['a']],
  [
    'and worse than anybody',
    [
      { ...own, state: 'draining' },
      { ...b, busy: 0.9 },
    ],
    {},
    ['b', 'a'],
  ],
  ['a browser needs an SFU', [{ ...own, sfu: false }, b], { browser: true }, ['b']],
  ['a phone does not', [{ ...own, sfu: false }, b], {}, ['a', 'b']],
  [
    'one that has come back takes little at first',
    [
      { ...b, weight: 0.1, busy: 0.1 },
      { ...c, busy: 0.5 },
    ],
    {},
    ['c', 'b'],
  ],
  ['who was tried is left out', [own, b], { without: ['a'] }, ['b']],
]

for (const [name, candidates, change, expected] of rows) {
  test(`choosing a media node: ${name}`, () => {
    assert.deepEqual(chooseNodes(candidates, { ...choice, ...change }), expected)
  })
}
