/** A person on a server, under one or more addresses. The password itself is kept nowhere. */
export interface Profile {
  id: string
  /** What its owner calls it: home, office … */
  name: string
  /** `host` or `host:port` of HTTPS (or of HTTP on this very machine), best first. */
  servers: readonly string[]
  /** Other nodes of the last of them that was reached: what it told. They are tried last. */
  nodes?: readonly string[]
  user: string
  domain: string
  displayName: string
  /** H(user:domain:password) with MD5, which is what the phone proves itself with. */
  ha1: string
}

/** What is kept between two visits; localStorage does. */
export interface Shelf {
  getItem(key: string): string | null
  setItem(key: string, value: string): void
}

const key = 'vaartha.profiles'

export function loadProfiles(shelf: Shelf): Profile[] {
  const kept: unknown = read(shelf.getItem(key))
  return Array.isArray(kept) ? kept.filter(isProfile) : []
}

export function saveProfiles(shelf: Shelf, profiles: readonly Profile[]): void {
  shelf.setItem(key, JSON.stringify(profiles))
}

/** Adds a profile, or replaces the one of the same person. */
export function withProfile(profiles: readonly Profile[], added: Profile): Profile[] {
  const same = (one: Profile) => one.user === added.user && one.domain === added.domain
  const before = profiles.find(same)
  if (before === undefined) return [...profiles, added]
  const servers = [...new Set([...added.servers, ...before.servers])]
  return profiles.map(one => (same(one) ? { ...added, id: one.id, name: one.name, servers } : one))
}

export interface Reached {
  profile: Profile
  server: string
}

/**
 * The first server that answers, the profiles' order deciding: a later one is asked when the one before has failed or
 * has said nothing for `patienceMs`, and an earlier one that answers meanwhile still wins the race.
 */
export async function chooseServer(
  profiles: readonly Profile[],
  probe: (server: string) => Promise<boolean>,
  patienceMs = 800,
): Promise<Reached | undefined> {
  const places = profiles.flatMap(profile => placesOf(profile).map(server => ({ profile, server })))
  return new Promise(resolve => {
    let asked = 0
    let open = 0
    let timer: ReturnType<typeof setTimeout> | undefined
    const next = () => {
      clearTimeout(timer)
      const place = places[asked++]
      if (place === undefined) {
        if (open === 0) resolve(undefined)
        return
      }
      open++
      timer = setTimeout(next, patienceMs)
      void probe(place.server).then(there => {
        open--
        if (there) {
          clearTimeout(timer)
          resolve(place)
        } else next()
      })
    }
    next()
  })
}

/** What the page's policy header must allow: the servers of all profiles but the page's own, as a cookie's value. */
export function serversCookie(profiles: readonly Profile[], own: string): string {
  const names = new Set(profiles.flatMap(placesOf).filter(server => server !== own))
  return [...names].slice(0, 16).join('~')
}

/** Where a profile is tried, best first. */
export function placesOf({ servers, nodes = [] }: Profile): string[] {
  return [...new Set([...servers, ...nodes])]
}

/** `https://Office.example/` → `office.example`; undefined for what is no address of a server. */
export function serverName(text: string): string | undefined {
  const plain = text.trim().toLowerCase()
  const whole = /^https?:\/\//.test(plain) ? plain : `https://${plain}`
  if (plain === '' || !URL.canParse(whole)) return undefined
  const { host } = new URL(whole)
  return /^(?:[a-z0-9.-]+|\[[0-9a-f:]+\])(?::\d{1,5})?$/.test(host) ? host : undefined
}

function read(text: string | null): unknown {
  try {
    return JSON.parse(text ?? '[]')
  } catch {
    // Somebody has tampered with it; signing in anew writes it afresh.
    return []
  }
}

function isProfile(one: unknown): one is Profile {
  const profile = one as Profile
  return (
    typeof profile?.id === 'string' &&
    typeof profile.user === 'string' &&
    typeof profile.domain === 'string' &&
    typeof profile.ha1 === 'string' &&
    Array.isArray(profile.servers)
  )
}
