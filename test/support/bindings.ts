import type { Binding } from '../../src/location/store.ts'

/** A sound binding of `sip:ann@example.org`, ending at 60 s, with whatever a test wants otherwise. */
export function someBinding(other: Partial<Binding> = {}): Binding {
  return {
    aor: 'sip:ann@example.org',
    contact: 'sip:ann@192.0.2.7:5060',
    callId: 'call-1',
    cseq: 1,
    q: 1,
    expiresAt: 60_000,
    path: [],
    flow: 'flow-1',
    protocol: 'tcp',
    source: { address: '192.0.2.7', port: 5060 },
    userAgent: 'test phone',
    registeredAt: 0,
    updatedAt: 0,
    node: 'node-1',
    ...other,
  }
}
