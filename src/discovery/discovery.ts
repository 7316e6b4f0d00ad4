import type { Events } from '../events.ts'
import type { Logger } from '../log.ts'
import { allAddresses, type LocalAddress } from '../network/interfaces.ts'
import { createOpenLink, type Link, type LinkPlace, type OpenLink, type Received, type Sender } from './link.ts'
import { firstLabel, instanceOf, labelOf } from './names.ts'
import { hostRecords, hostTtl, type OwnRecord, sharedTtl } from './records.ts'
import { createResponder, type Responder } from './responder.ts'
import { type ServiceInfo, serviceRecords } from './services.ts'
import { onLink, placesOf } from './subnet.ts'
import { standardTiming, type Timing } from './timing.ts'

/** This node as the local network sees it. */
export interface Discovery {
  /** The host name that is claimed, or being claimed: `vaartha.local`, `vaartha-2.local` … */
  name(): string
  /** Announces these services in place of the ones before. */
  update(services: readonly ServiceInfo[]): void
  /** Says goodbye (TTL 0) and closes every socket. Idempotent. */
  close(): Promise<void>
}

/** The addresses to announce and the news that they changed, as `watchAddresses` gives them. */
export interface Addresses {
  current(): LocalAddress[]
  onChange(listener: (now: LocalAddress[]) => void): () => void
}

export type { ServiceInfo }

export interface AnnounceOptions {
  /** The wished host name, without `.local`. */
  name: string
  addresses: Addresses
  services: readonly ServiceInfo[]
  /** Tells this node's service instances from those of others; the same at every start. */
  nodeId: string
  /**
   * The name is one of several nodes that agree among themselves who has it: while another host holds it, it is probed for
   * again, where a name of one's own would be changed.
   */
  shared?: boolean
  events: Events
  log: Logger
  timing?: Partial<Timing>
  random?: () => number
  now?: () => number
  openLink?: OpenLink
  /** Every address of this machine, also those that are not announced. */
  machine?: () => LocalAddress[]
}

interface Door {
  place: LinkPlace
  link: Link
  responder: Responder | undefined
  failed: boolean
  retry: NodeJS.Timeout | undefined
}

const manyConflicts = 15

/**
 * Claims a host name on every real interface and announces services there (RFC 6762, RFC 6763). The promise resolves
 * when the name is claimed on every interface that works, at once when there is none; it does not reject: what the
 * network refuses is logged once and tried again.
 */
export function announce(options: AnnounceOptions): Promise<Discovery> {
  const { discovery, claimed } = openDiscovery(options)
  return claimed.then(() => discovery)
}

/** The same, for who may have to close it before the name is claimed. */
export function openDiscovery(options: AnnounceOptions): { discovery: Discovery; claimed: Promise<void> } {
  const { addresses, events, log, nodeId, random = Math.random, now = Date.now, machine = allAddresses } = options
  const timing = { ...standardTiming, ...options.timing }
  const openLink = options.openLink ?? createOpenLink(log)
  const first = firstLabel(options.name)
  const doors = new Map<string, Door>()
  /** Places whose failure has been logged, until they work again. */
  const complained = new Set<string>()
  let services = options.services
  let attempt = 1
  let conflicts: number[] = []
  let reported: string | undefined
  let closing: Promise<void> | undefined
  let ready: (() => void) | undefined

  const host = () => `${labelOf(first, attempt)}.local`
  const keyOf = (place: LinkPlace) => `${place.interface} ${place.family}`
  const isLocal = (address: string) =>
    [...addresses.current(), ...machine()].some(a => a.address.toLowerCase() === address.toLowerCase())

  const recordsFor = (place: LinkPlace): OwnRecord[] => {
    const own = addresses.current().filter(a => a.interface === place.interface)
    const instance = instanceOf(labelOf(first, attempt), nodeId)
    const ttl = options.shared ? sharedTtl : hostTtl
    return [...hostRecords(host(), own, ttl), ...services.flatMap(s => serviceRecords(s, instance, host()))]
  }

  const settle = () => {
    const open = [...doors.values()].filter(door => !door.failed)
    if (!open.every(door => door.responder?.settled())) return
    if (open.length > 0 && reported !== host()) {
      reported = host()
      log.info({ name: host(), interfaces: open.map(door => door.place.interface) }, 'mdns name is claimed')
      events.emit('nameClaimed', { name: host() })
    }
    ready?.()
  }

  const renew = (pauseMs = 0) => {
    for (const door of doors.values()) door.responder?.use(recordsFor(door.place), pauseMs)
  }

  const onConflict = (door: Door, name: string, held: boolean, by: string) => {
    conflicts = [...conflicts.filter(at => now() - at < timing.conflictWindow), now()].slice(-manyConflicts)
    const pause = conflicts.length === manyConflicts ? timing.conflictPause : 0
    if (held) {
      log.warn({ name, by }, 'mdns name is also claimed by another host, probing for it again')
      return door.responder?.probeAgain(name, pause)
    }
    if (options.shared) {
      log.debug({ name, by }, 'mdns name is still held by another node, probing for it again')
      return door.responder?.probeAgain(name, Math.max(pause, timing.probe))
    }
    const taken = host()
    attempt += 1
    log.warn({ name: taken, by, next: host() }, 'mdns name belongs to another host, taking the next one')
    events.emit('nameConflict', { name: taken, next: host() })
    renew(pause)
  }

  const fail = (door: Door, err: Error) => {
    const key = keyOf(door.place)
    if (closing || door.failed || doors.get(key) !== door) return
    if (!complained.has(key)) log.warn({ err, ...door.place }, 'mdns does not work on an interface, trying again')
    complained.add(key)
    door.failed = true
    void shut(door, false)
    door.retry = setTimeout(() => {
      if (doors.get(key) === door) open(door.place)
    }, timing.retry)
    door.retry.unref()
    settle()
  }

  const shut = async (door: Door, goodbye: boolean) => {
    clearTimeout(door.retry)
    await door.responder?.close(goodbye)
    await door.link.close()
  }

  const start = (door: Door) => {
    door.responder = createResponder({
      ...{ link: door.link, timing, random, now, log, isLocal },
      claimed: () => {
        complained.delete(keyOf(door.place))
        settle()
      },
      conflict: (name, held, by) => onConflict(door, name, held, by),
      failed: err => fail(door, err),
    })
    door.responder.use(recordsFor(door.place))
  }

  const receive = (door: Door, packet: Received, from: Sender) => {
    if (!onLink(from.address, door.place, addresses.current())) return
    door.responder?.receive(packet, from)
  }

  const open = (place: LinkPlace) => {
    const door: Door = {
      place,
      link: undefined as unknown as Link,
      responder: undefined,
      failed: false,
      retry: undefined,
    }
    doors.set(keyOf(place), door)
    door.link = openLink(place, {
      ready: () => start(door),
      packet: (packet, from) => receive(door, packet, from),
      failed: err => fail(door, err),
    })
  }

  // A socket stays as long as the address that it was opened for; another address of its interface is one record more.
  const follow = () => {
    const wanted = new Map(placesOf(addresses.current()).map(place => [keyOf(place), place]))
    for (const [key, door] of doors) {
      const place = wanted.get(key)
      const still = place && addresses.current().some(a => sameAddress(a, door.place))
      if (still) continue
      doors.delete(key)
      complained.delete(key)
      void shut(door, true)
    }
    renew()
    for (const [key, place] of wanted) if (!doors.has(key)) open(place)
    settle()
  }
  const sameAddress = (a: LocalAddress, place: LinkPlace) =>
    a.interface === place.interface && a.address === place.address

  const unfollow = addresses.onChange(follow)
  const discovery: Discovery = {
    name: host,
    update(next) {
      services = next
      renew()
    },
    close() {
      unfollow()
      closing ??= Promise.all([...doors.values()].map(door => shut(door, true))).then(() => {
        doors.clear()
        ready?.()
      })
      return closing
    },
  }
  const claimed = new Promise<void>(resolve => {
    ready = () => {
      ready = undefined
      resolve()
    }
    follow()
  })
  return { discovery, claimed }
}
