import type { Binding } from './binding.ts'

/** What makes two bindings of one address the same: instance and reg-id (RFC 5626 section 6), else the contact. */
export function bindingKey({ contact, instance, regId }: Binding): string {
  return instance !== undefined && regId !== undefined ? `${instance} ${regId}` : contact
}

/**
 * Joins two states of one address that came about apart from each other. Of each binding the one that was renewed last
 * stays; one that was taken away here, at the time in `gone`, stays away unless it was renewed there after that; and one
 * that is still as it was in `base`, the state that both came out of, has been taken away there.
 */
export function mergeBindings(
  here: readonly Binding[],
  there: readonly Binding[],
  gone: ReadonlyMap<string, number>,
  base: readonly Binding[],
  now: number,
): Binding[] {
  const merged = new Map<string, Binding>()
  for (const binding of there) {
    const key = bindingKey(binding)
    const end = gone.get(key)
    if (binding.expiresAt > now && (end === undefined || binding.updatedAt > end)) merged.set(key, binding)
  }
  for (const binding of here) {
    if (binding.expiresAt <= now) continue
    const key = bindingKey(binding)
    const other = there.find(each => bindingKey(each) === key)
    const old = base.find(each => bindingKey(each) === key)
    if (other === undefined && old?.updatedAt === binding.updatedAt) continue
    if (other === undefined || isNewer(binding, other)) merged.set(key, binding)
  }
  return [...merged.values()]
}

// Of one renewal, the state without a flow is the later one: a flow is lost, never found again.
function isNewer(a: Binding, b: Binding): boolean {
  if (a.updatedAt !== b.updatedAt) return a.updatedAt > b.updatedAt
  if (a.callId === b.callId && a.cseq !== b.cseq) return a.cseq > b.cseq
  return b.flow !== ''
}
