import assert from 'node:assert/strict'
import { it } from 'node:test'
import fc from 'fast-check'
import { Refusal } from '../../src/errors.ts'
import type { LocationStore } from '../../src/location/store.ts'
import type { RegisterAnswer, RegisterRequest } from '../../src/registrar/registrar.ts'
import { ann, openRegistrar, register } from '../support/registrar.ts'

interface Clock {
  now: number
}
type Step = RegisterRequest | { wait: number }
/** What the last step is answered: Contact values in order, or the status and headers of a refusal. */
type Expected = string[] | { status: number; headers?: Record<string, string> }

const one = '<sip:ann@192.0.2.1>'
const two = '<sip:ann@192.0.2.2>'
const outbound = { supported: ['path', 'outbound'] }
const flow = (id: number, uri = 'sip:ann@192.0.2.1', phone = 'urn:uuid:a') =>
  `<${uri}>;+sip.instance="<${phone}>";reg-id=${id}`
const plain = (uri: string, phone = 'urn:uuid:a') => `<${uri}>;+sip.instance="<${phone}>"`

const table: [rule: string, steps: Step[], expected: Expected][] = [
  ['3261 10.2.3: without Contact it only tells', [register([one]), register([], { cseq: 2 })], [`${one};expires=1800`]],
  ['3261 10.2.3: nothing there', [register([])], []],
  ['3261 10.2.1: several contacts at once', [register([one, two])], [`${one};expires=1800`, `${two};expires=1800`]],
  [
    '3261 10.2.1.2: the best first',
    [register([`${one};q=0.2`, `${two};q=0.7`])],
    [`${two};expires=1800;q=0.7`, `${one};expires=1800;q=0.2`],
  ],
  [
    'of equal q the most recent first',
    [register([one]), { wait: 10 }, register([two], { callId: 'b' })],
    [`${two};expires=1800`, `${one};expires=1790`],
  ],
  [
    '10.3.6: the parameter goes before the header',
    [register([`${one};expires=90`], { expires: 300 })],
    [`${one};expires=90`],
  ],
  ['10.3.6: the header', [register([one], { expires: 300 })], [`${one};expires=300`]],
  ['10.3.7: longer than allowed is cut', [register([one], { expires: 99999 })], [`${one};expires=3600`]],
  ['10.3.7: too brief', [register([one], { expires: 59 })], { status: 423, headers: { 'Min-Expires': '60' } }],
  [
    '10.3: all or nothing',
    [register([one]), attempt(register([two, `${one};expires=5`], { cseq: 2 })), register([])],
    [`${one};expires=1800`],
  ],
  [
    '10.2.2: 0 takes one away',
    [register([one, two]), register([`${one};expires=0`], { cseq: 2 })],
    [`${two};expires=1800`],
  ],
  ['10.2.2: what is not there goes quietly', [register([`${one};expires=0`])], []],
  ['10.2.2: * takes all away', [register([one, two]), register('*', { cseq: 2, expires: 0 })], []],
  ['10.2.2: * needs Expires: 0', [register('*', { expires: 60 })], { status: 400 }],
  ['10.2.2: * without Expires', [register('*')], { status: 400 }],
  ['10.3.6: * out of order', [register([one]), register('*', { expires: 0 })], { status: 500 }],
  ['10.3.6: * of another Call-ID', [register([one]), register('*', { expires: 0, callId: 'b' })], []],
  ['10.3.7: renewed', [register([one]), { wait: 60 }, register([one], { cseq: 2 })], [`${one};expires=1800`]],
  ['10.3.7: a lower CSeq', [register([one], { cseq: 5 }), register([one], { cseq: 4 })], { status: 500 }],
  ['10.3.7: an equal CSeq', [register([one], { cseq: 5 }), register([one], { cseq: 5 })], { status: 500 }],
  [
    '10.3.7: a lower CSeq takes nothing away',
    [register([one], { cseq: 5 }), register([`${one};expires=0`])],
    { status: 500 },
  ],
  [
    '10.3.7: another Call-ID is not compared',
    [register([one], { cseq: 5 }), register([one], { callId: 'b', expires: 90 })],
    [`${one};expires=90`],
  ],
  [
    '10.3.7: the same Call-ID may add a contact with any CSeq',
    [register([one], { cseq: 5 }), register([two], { cseq: 4 })],
    [`${one};expires=1800`, `${two};expires=1800`],
  ],
  [
    '10.3.7: an order that fails for one contact fails the whole',
    [register([one], { cseq: 5 }), attempt(register([two, one], { cseq: 4 })), register([])],
    [`${one};expires=1800`],
  ],
  [
    '19.1.4: equal URIs are one contact',
    [register(['<sip:ann@Phone.example>']), register(['<sip:%61nn@phone.example;x=1>'], { cseq: 2 })],
    ['<sip:%61nn@phone.example;x=1>;expires=1800'],
  ],
  [
    '19.1.4: another transport is another contact',
    [register([one]), register(['<sip:ann@192.0.2.1;transport=tcp>'], { cseq: 2 })],
    [`${one};expires=1800`, '<sip:ann@192.0.2.1;transport=tcp>;expires=1800'],
  ],
  [
    'of two values for one contact the last holds',
    [register([`${one};q=0.1`, `${one};expires=70`])],
    [`${one};expires=70`],
  ],
  [
    'also when it takes the contact away',
    [register([one]), register([`${one};expires=70`, `${one};expires=0`], { cseq: 2 })],
    [],
  ],
  [
    'also when it brings the contact back',
    [register([one]), register([`${one};expires=0`, `${one};expires=70`], { cseq: 2 })],
    [`${one};expires=70`],
  ],
  [
    'a contact that has ended is gone',
    [register([`${one};expires=60`, two]), { wait: 60 }, register([])],
    [`${two};expires=1740`],
  ],
  [
    'and its CSeq is forgotten',
    [register([`${one};expires=60`]), { wait: 60 }, register([one])],
    [`${one};expires=1800`],
  ],
  [
    'the rest of a second is a second',
    [register([`${one};expires=60`]), { wait: 59.5 }, register([])],
    [`${one};expires=1`],
  ],
  ['too many contacts', [register([1, 2, 3, 4, 5, 6].map(n => `<sip:ann@192.0.2.${n}>`))], { status: 403 }],
  ['a contact that cannot be called', [register(['<mailto:ann@example.org>'])], { status: 400 }],
  [
    '20.32: an unknown extension',
    [register([one], { require: ['x', 'path'] })],
    { status: 420, headers: { Unsupported: 'x' } },
  ],
  [
    '3327 5.3: Path unasked for',
    [register([one], { path: ['<sip:p;lr>'] })],
    { status: 420, headers: { Unsupported: 'path' } },
  ],
  [
    '5626 6: two flows of one phone',
    [register([flow(1)], outbound), register([flow(2)], { ...outbound, callId: 'b' })],
    [`${plain('sip:ann@192.0.2.1').replace('>;', '>;expires=1800;')};reg-id=1`, withLife(flow(2))],
  ],
  [
    '5626 6: a new flow replaces the one of its reg-id, whatever its URI',
    [register([flow(1)], outbound), register([flow(1, 'sip:ann@198.51.100.9')], { ...outbound, cseq: 2 })],
    [withLife(flow(1, 'sip:ann@198.51.100.9'))],
  ],
  [
    '5626 6: another phone with the same reg-id stays',
    [
      register([flow(1)], outbound),
      register([flow(1, 'sip:ann@192.0.2.9', 'urn:uuid:b')], { ...outbound, callId: 'b' }),
    ],
    [withLife(flow(1)), withLife(flow(1, 'sip:ann@192.0.2.9', 'urn:uuid:b'))],
  ],
  [
    'RFC 9562: a UUID is the same in capitals',
    [register([flow(1)], outbound), register([flow(1, 'sip:ann@192.0.2.9', 'URN:UUID:A')], { ...outbound, cseq: 2 })],
    [withLife(flow(1, 'sip:ann@192.0.2.9', 'URN:UUID:A'))],
  ],
  ['5626 4.2.1: two reg-ids in one request', [register([flow(1), flow(2)], outbound)], { status: 400 }],
  ['5626: a reg-id of nothing', [register([flow(0)], outbound)], { status: 400 }],
  ['5626 6: reg-id without Supported: outbound', [register([flow(1)])], [withLife(plain('sip:ann@192.0.2.1'))]],
  [
    '5626 6: reg-id without an instance',
    [register(['<sip:ann@192.0.2.1>;reg-id=1'], outbound)],
    [`${one};expires=1800`],
  ],
  [
    '5626 6: the first hop keeps flows',
    [register([flow(1)], { ...outbound, vias: 2, path: ['<sip:core;lr>', '<sip:edge;lr;ob>'] })],
    [withLife(flow(1))],
  ],
  [
    '5626 6: the first hop keeps none, and Outbound is not demanded',
    [register([flow(1)], { ...outbound, vias: 2, path: ['<sip:core;lr;ob>', '<sip:edge;lr>'] })],
    [withLife(plain('sip:ann@192.0.2.1'))],
  ],
  [
    '5626 6: the first hop keeps none, and Outbound is demanded',
    [register([flow(1)], { ...outbound, require: ['outbound'], vias: 2, path: ['<sip:edge;lr;oblong>'] })],
    { status: 439 },
  ],
  [
    'taken away by its URI only',
    [register([flow(1)], outbound), register(['<sip:ann@192.0.2.1>;expires=0'], { cseq: 2 })],
    [],
  ],
  [
    'but not by another phone at that URI',
    [
      register([flow(1)], outbound),
      register([`${plain('sip:ann@192.0.2.1', 'urn:uuid:b')};expires=0`], { callId: 'b' }),
    ],
    [withLife(flow(1))],
  ],
  [
    'a phone with an instance that moves leaves no ghost',
    [register([plain('sip:ann@192.0.2.1')]), register([plain('sip:ann@192.0.2.2')], { callId: 'b' })],
    [withLife(plain('sip:ann@192.0.2.2'))],
  ],
  [
    'nor when it comes to use Outbound',
    [register([plain('sip:ann@192.0.2.1')]), register([flow(1)], { ...outbound, callId: 'b' })],
    [withLife(flow(1))],
  ],
  [
    'but may have two contacts in one request',
    [register([plain('sip:ann@192.0.2.1'), plain('sip:ann@192.0.2.2')])],
    [withLife(plain('sip:ann@192.0.2.1')), withLife(plain('sip:ann@192.0.2.2'))],
  ],
  [
    'and another phone stays',
    [register([plain('sip:ann@192.0.2.1')]), register([plain('sip:ann@192.0.2.2', 'urn:uuid:b')], { callId: 'b' })],
    [withLife(plain('sip:ann@192.0.2.1')), withLife(plain('sip:ann@192.0.2.2', 'urn:uuid:b'))],
  ],
  [
    'the contact renewed longest ago gives way to one too many',
    [
      ...[1, 2, 3, 4, 5].flatMap(n => [register([`<sip:ann@192.0.2.${n}>`], { callId: `c${n}` }), { wait: 1 }]),
      register(['<sip:ann@192.0.2.1>'], { callId: 'c1', cseq: 2 }),
      { wait: 1 },
      register(['<sip:ann@192.0.2.6>'], { callId: 'c6' }),
      register([], { callId: 'q' }),
    ],
    [6, 1, 5, 4, 3].map((n, at) => `<sip:ann@192.0.2.${n}>;expires=${1800 - at}`),
  ],
  ['5627 5.1: a GRUU is no contact', [register(['<sip:ann@example.org;gr=urn:uuid:a>'])], { status: 403 }],
]

function withLife(contact: string): string {
  return contact.replace('>;', '>;expires=1800;')
}

/** A step that is expected to be refused. */
function attempt(request: RegisterRequest): RegisterRequest & { refused: true } {
  return { ...request, refused: true }
}

/** What the registrar does, whichever store is below it. `open` gives an empty store whose clock is `clock.now`. */
export function registrarContract(open: (clock: Clock) => Promise<LocationStore>, runs: number): void {
  async function opened(work: (store: LocationStore, clock: Clock) => Promise<void>): Promise<void> {
    const clock = { now: Math.floor(Date.now() / 1000) * 1000 }
    const store = await open(clock)
    try {
      await work(store, clock)
    } finally {
      await store.close()
    }
  }

  for (const [rule, steps, expected] of table) {
    it(rule, () =>
      opened(async (store, clock) => {
        const registrar = openRegistrar(store, clock)
        let last: RegisterAnswer | Refusal | undefined
        for (const [at, step] of steps.entries()) {
          if ('wait' in step) clock.now += step.wait * 1000
          else {
            last = await registrar.register(step).catch(asRefusal)
            const refused = 'refused' in step || (at === steps.length - 1 && !Array.isArray(expected))
            assert.equal(last instanceof Refusal, refused)
          }
        }
        if (Array.isArray(expected)) return assert.deepEqual((last as RegisterAnswer).contacts, expected)
        assert.equal((last as Refusal).sipStatus, expected.status)
        assert.deepEqual((last as Refusal).headers, expected.headers ?? {})
      }),
    )
  }

  it('loses none of 50 that register for one address at once', () =>
    opened(async (store, clock) => {
      const registrars = [1, 2].map(() => openRegistrar(store, clock, { mostContacts: 50 }))
      const requests = Array.from({ length: 50 }, (_, n) => register([`<sip:ann@192.0.2.${n}>`], { callId: `c${n}` }))
      await Promise.all(requests.map((request, n) => registrars[n % 2]!.register(request)))
      const contacts = (await store.load(ann)).bindings.map(({ contact }) => contact)
      assert.equal(new Set(contacts).size, 50)
    }))

  it('does what a simple model does', () =>
    fc.assert(
      fc.asyncProperty(fc.array(randomStep, { minLength: 1, maxLength: 15 }), steps =>
        opened(async (store, clock) => {
          const registrar = openRegistrar(store, clock, { mostContacts: 3 })
          const model = createModel()
          for (const step of steps) {
            if ('wait' in step) clock.now += step.wait * 1000
            else {
              // Each request has a time of its own, which tells what was renewed longest ago.
              clock.now += 1000
              const answered = await registrar.register(step).catch(asRefusal)
              const told = answered instanceof Refusal ? answered.sipStatus : [...answered.contacts].sort()
              assert.deepEqual(told, model(step, clock.now))
            }
          }
        }),
      ),
      { numRuns: runs },
    ))
}

function asRefusal(error: unknown): Refusal {
  assert.ok(error instanceof Refusal, String(error))
  return error
}

const wantedContact = fc.record({
  phone: fc.constantFrom('', 'a', 'b'),
  at: fc.integer({ min: 1, max: 3 }),
  expires: fc.constantFrom(0, 0, 30, 60, 600, 9000),
})
const randomStep: fc.Arbitrary<Step> = fc.oneof(
  { weight: 1, arbitrary: fc.record({ wait: fc.constantFrom(1, 60, 599, 3600) }) },
  {
    weight: 8,
    arbitrary: fc
      .record({
        contacts: fc.oneof(
          { weight: 9, arbitrary: fc.array(wantedContact, { maxLength: 3 }) },
          { weight: 1, arbitrary: fc.constant('*' as const) },
        ),
        callId: fc.constantFrom('x', 'y'),
        cseq: fc.integer({ min: 1, max: 6 }),
        expires: fc.constantFrom(0, 60),
      })
      .map(({ contacts, ...other }) => {
        const values = contacts === '*' ? contacts : contacts.map(contactValue)
        return register(values, { ...other, ...outbound })
      }),
  },
)

// Without Outbound the URI is the key, with it the phone and reg-id; each phone of the model has URIs of its own.
function contactValue({ phone, at, expires }: { phone: string; at: number; expires: number }): string {
  const uri = `sip:${phone}${at}@192.0.2.1`
  return `${phone === '' ? `<${uri}>` : flow(1, uri, phone)};expires=${expires}`
}

/** RFC 3261 section 10.3 and RFC 5626 section 6 in as few words as possible. */
function createModel(): (request: RegisterRequest, now: number) => number | string[] {
  let state = new Map<
    string,
    { uri: string; phone: string; callId: string; cseq: number; ends: number; updated: number }
  >()
  return (request, now) => {
    const next = new Map([...state].filter(([, { ends }]) => ends > now))
    const before = new Map(next)
    state = new Map(next)
    const late = (key: string) => {
      const old = before.get(key)
      return old !== undefined && old.callId === request.callId && request.cseq <= old.cseq
    }
    if (request.contacts === '*') {
      if (request.expires !== 0) return 400
      if ([...before.keys()].some(late)) return 500
      state.clear()
      return []
    }
    const wishes = request.contacts.map(({ uri, expires = 0, params }) => {
      const phone = params.get('+sip.instance') ?? ''
      return { uri, phone, key: phone || uri, expires }
    })
    if (wishes.filter(({ phone, expires }) => phone !== '' && expires > 0).some(({ expires }) => expires < 60))
      return 423
    if (wishes.filter(({ phone, expires }) => phone !== '' && expires > 0).length > 1) return 400
    for (const { uri, phone, key, expires } of wishes) {
      if (expires > 0 && expires < 60) return 423
      if (late(key)) return 500
      if (expires === 0) next.delete(key)
      else {
        const ends = now + Math.min(expires, 3600) * 1000
        next.set(key, { uri, phone, callId: request.callId, cseq: request.cseq, ends, updated: now })
      }
    }
    if (next.size > 3 && [...next.keys()].some(key => !before.has(key))) {
      const old = [...next].filter(([, { updated }]) => updated < now)
      old.sort(([, a], [, b]) => a.updated - b.updated || (a.uri < b.uri ? -1 : 1))
      if (old.length < next.size - 3) return 403
      for (const [key] of old.slice(0, next.size - 3)) next.delete(key)
    }
    state = next
    return [...next.values()]
      .map(({ uri, phone, ends }) => {
        const text = `<${uri}>;expires=${(ends - now) / 1000}`
        return phone === '' ? text : `${text};+sip.instance=${phone};reg-id=1`
      })
      .sort()
  }
}
