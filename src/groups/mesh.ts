import type { Topology } from '../events.ts'
import type { RosterTopology } from './roster.ts'
import type { ShapeSnapshot } from './snapshot.ts'
import { chooseTopology, type ShapeChoice, type ShapeLimits } from './topology.ts'

// Carries out what topology.ts chooses, make before break (docs/meetings.md, Shapes): clients are told to build the new
// path, report when it carries, and only then is it told as settled. Nothing here knows SIP.

// How long the members may take to build a path before all of it is rolled back. Slow machines build one pair of a mesh
// after the other, while all hear each other by the SFU: as long as pairs come, the rest is waited for.
const buildMs = 10_000
const meshMs = 30_000
// How long legs go on after a mesh is settled, for whoever hears of it late.
const lingerMs = 2000
// A mesh is built when nobody has come for so long.
const quietMs = 800
// How long a failed change is not tried again, if nobody comes or goes: towards the SFU it is urgent, and towards a mesh twice
// as long each time, for what was only slow a moment ago may do now.
const firstRetryMeshMs = 8000
const retryMeshMs = 60_000
const retrySfuMs = 5000

export interface ShapePort {
  limits(): ShapeLimits
  /** Tells all members at once. */
  publish(topology: RosterTopology): void
  /** Lets the media of a member's leg flow, or rest; false when its client did not take that. */
  flow(member: number, on: boolean): Promise<boolean>
  /** A change is over. */
  changed(change: { from: Topology; to: Topology; ms: number; rolledBack: boolean }): void
  /** A bug in one of the above. */
  failed(error: unknown): void
}

/** What a client tells of a change; `connected` and `failed` are its pairs. */
export interface Report {
  epoch: number
  connected: ReadonlySet<number>
  failed: ReadonlySet<number>
  ready: boolean
}

interface Member {
  id: number
  mesh: boolean
  plain: boolean
  /** Its leg carries media, as far as we know. */
  flowing: boolean
  /** How often its leg was asked to flow or to rest. */
  asked: number
  report: Report | undefined
}

interface Change {
  to: Topology
  members: number[]
  began: number
  /** Ends of pairs that are connected. */
  ends: number
  /** Members whose legs were woken for it. */
  woken: Set<number>
}

/** The shape of one meeting, now and on its way to another. */
export class Shape {
  readonly #port: ShapePort
  readonly #members = new Map<number, Member>()
  #settled: Topology = 'sfu'
  /** Who takes part in a settled direct or mesh. */
  #meshed: number[] = []
  #epoch = 1
  #change: Change | undefined
  #choice: ShapeChoice | undefined
  #lastCame = 0
  #notBefore = 0
  #retryMs = firstRetryMeshMs
  #brokenUntil = 0
  #timers = new Map<'build' | 'linger' | 'again', NodeJS.Timeout>()
  #closed = false
  /** Who waits for the SFU. */
  readonly #waiting = new Set<() => void>()

  constructor(port: ShapePort) {
    this.#port = port
  }

  get topology(): RosterTopology {
    const change = this.#change
    const shape = change?.to ?? this.#settled
    const members = shape === 'sfu' ? [] : (change?.members ?? this.#meshed)
    return { shape, epoch: this.#epoch, state: change ? 'preparing' : 'settled', members }
  }

  /** Whether two members may call each other directly now. */
  pairs(one: number, other: number, epoch: number): boolean {
    const members = this.#change?.to === 'sfu' ? this.#meshed : (this.#change?.members ?? this.#meshed)
    return epoch <= this.#epoch && members.includes(one) && members.includes(other) && one !== other
  }

  add(id: number, { mesh, plain }: { mesh: boolean; plain: boolean }): void {
    this.#members.set(id, { id, mesh, plain, flowing: true, asked: 0, report: undefined })
    this.#lastCame = Date.now()
    this.#forgetFailures()
    this.#step()
  }

  /** Goes on as it was on another node; who takes part follows by `restore`, and `check` begins. */
  goOn({ settled, meshed, epoch, tried }: ShapeSnapshot): void {
    this.#settled = settled
    this.#meshed = [...meshed]
    this.#epoch = epoch + 1
    if (tried === undefined) return
    this.#choice = tried.choice
    this.#notBefore = tried.notBefore
    this.#retryMs = tried.retryMs
    this.#brokenUntil = tried.brokenUntil
  }

  /** Somebody of another node, whose leg is not here yet. */
  restore(id: number, { mesh, plain }: { mesh: boolean; plain: boolean }): void {
    this.#members.set(id, { id, mesh, plain, flowing: false, asked: 0, report: undefined })
    this.#lastCame = Date.now()
  }

  /** The leg of such a one carries media now. */
  came(id: number): void {
    this.noteFlowing(id)
    if (this.#settled !== 'sfu' && this.#change === undefined) this.#rest()
    this.#step()
  }

  snapshot(): ShapeSnapshot {
    const { shape, since, why, fewSince } = this.#choice ?? { shape: this.#settled, since: 0, why: 'alone' }
    const choice = { shape, since, why, ...(fewSince === undefined ? {} : { fewSince }) }
    const tried = { choice, notBefore: this.#notBefore, retryMs: this.#retryMs, brokenUntil: this.#brokenUntil }
    return { settled: this.#settled, meshed: this.#meshed, epoch: this.#epoch, tried }
  }

  remove(id: number): void {
    if (!this.#members.delete(id)) return
    this.#forgetFailures()
    this.#step()
  }

  setMesh(id: number, mesh: boolean): void {
    const member = this.#members.get(id)
    if (member === undefined || member.mesh === mesh) return
    member.mesh = mesh
    this.#step()
  }

  /** A leg was negotiated anew by the client itself, and carries media again. */
  noteFlowing(id: number): void {
    const member = this.#members.get(id)
    if (member) member.flowing = true
  }

  report(id: number, report: Report): void {
    const member = this.#members.get(id)
    if (member === undefined || report.epoch !== this.#epoch) return
    member.report = report
    if (this.#change === undefined && this.#meshed.some(other => report.failed.has(other))) {
      this.#brokenUntil = Date.now() + retryMeshMs
    }
    this.#step()
  }

  /** Looks again whether the shape still fits, after a limit has changed. */
  check(): void {
    this.#step()
  }

  /** Resolves when what the server plays reaches everybody, or after the time in which that is tried. */
  async onSfu(): Promise<void> {
    if (this.#settled === 'sfu' || this.#closed) return
    await new Promise<void>(resolve => {
      const done = () => {
        clearTimeout(timer)
        this.#waiting.delete(done)
        resolve()
      }
      const timer = setTimeout(done, buildMs)
      this.#waiting.add(done)
    })
  }

  close(): void {
    this.#closed = true
    for (const done of this.#waiting) done()
    for (const timer of this.#timers.values()) clearTimeout(timer)
    this.#timers.clear()
  }

  #step(): void {
    if (this.#closed) return
    const now = Date.now()
    const limits = this.#port.limits()
    const members = [...this.#members.values()]
    const people = members.map(({ id, mesh, plain }) => ({ id: String(id), mesh, plain }))
    const serverNeeded = limits.serverNeeded === true || now < this.#brokenUntil
    this.#choice = chooseTopology(people, { ...limits, serverNeeded }, this.#choice, now)
    const { shape: wanted, again } = this.#choice
    this.#wake(Math.min(again ?? Number.POSITIVE_INFINITY, this.#brokenUntil > now ? this.#brokenUntil : Infinity))
    if (this.#change) return this.#proceed(this.#change, wanted, now)
    if (this.#settled === 'sfu') {
      if (wanted === 'sfu') return
      const earliest = Math.max(this.#lastCame + quietMs, this.#notBefore)
      return now >= earliest ? this.#prepare(wanted, now) : this.#wake(earliest)
    }
    const stayed = this.#meshed.filter(id => this.#members.has(id))
    const fits = wanted !== 'sfu' && members.every(({ id }) => stayed.includes(id))
    if (!fits) return now >= this.#notBefore ? this.#prepare('sfu', now) : this.#wake(this.#notBefore)
    if (stayed.length < this.#meshed.length) this.#shrink(wanted, stayed)
  }

  /** Who left a mesh leaves the others as they are. */
  #shrink(to: Topology, members: number[]): void {
    const from = this.#settled
    this.#epoch++
    this.#settled = to
    this.#meshed = members
    this.#publish()
    if (from !== to) this.#port.changed({ from, to, ms: 0, rolledBack: false })
  }

  #prepare(to: Topology, now: number): void {
    const members = [...this.#members.keys()]
    this.#epoch++
    this.#change = { to, members, began: now, ends: 0, woken: new Set() }
    for (const member of this.#members.values()) member.report = undefined
    this.#clear('linger')
    this.#set('build', buildMs, () => this.#rollBack())
    this.#publish()
    if (to === 'sfu') for (const member of this.#members.values()) if (!member.flowing) this.#rouse(member)
    this.#step()
  }

  #rouse(member: Member): void {
    const change = this.#change
    change?.woken.add(member.id)
    this.#flow(member, true, worked => {
      if (change !== this.#change || !this.#members.has(member.id)) return
      if (worked) this.#step()
      else this.#rollBack()
    })
  }

  #proceed(change: Change, wanted: Topology, now: number): void {
    if (change.to === 'sfu') {
      if ([...this.#members.values()].every(member => this.#isReady(member, change))) this.#settle(change, now)
      return
    }
    // On the way to a mesh all still hear each other through the SFU, so it costs nothing to begin anew.
    const same = change.members.length === this.#members.size && change.members.every(id => this.#members.has(id))
    if (wanted !== change.to || !same) return this.#abandon()
    const members = [...this.#members.values()]
    if (members.some(({ report }) => change.members.some(id => report?.failed.has(id)))) return this.#rollBack()
    const whole = members.every(({ id, report }) =>
      change.members.every(other => other === id || report?.connected.has(other)),
    )
    if (whole) return this.#settle(change, now)
    const ends = members.reduce((sum, { report }) => sum + (report?.connected.size ?? 0), 0)
    if (ends <= change.ends) return
    change.ends = ends
    this.#set('build', Math.min(buildMs, change.began + meshMs - now), () => this.#rollBack())
  }

  /** Whose leg has carried media all the time need not tell. */
  #isReady(member: Member, change: Change): boolean {
    return member.flowing && (!change.woken.has(member.id) || member.report?.ready === true)
  }

  #settle({ to, members, began }: Change, now: number): void {
    const from = this.#settled
    this.#end()
    this.#settled = to
    this.#meshed = to === 'sfu' ? [] : members
    if (to !== 'sfu') this.#forgetFailures()
    this.#publish()
    if (to !== 'sfu') this.#rest()
    else for (const done of this.#waiting) done()
    this.#port.changed({ from, to, ms: now - began, rolledBack: false })
    this.#step()
  }

  #abandon(): void {
    this.#end()
    this.#epoch++
    this.#publish()
    this.#step()
  }

  #rollBack(): void {
    const change = this.#change
    if (change === undefined) return
    this.#end()
    this.#epoch++
    this.#notBefore = Date.now() + (change.to === 'sfu' ? retrySfuMs : this.#retryMs)
    if (change.to !== 'sfu') this.#retryMs = Math.min(2 * this.#retryMs, retryMeshMs)
    this.#publish()
    if (this.#settled !== 'sfu') this.#rest()
    const ms = Date.now() - change.began
    this.#port.changed({ from: this.#settled, to: change.to, ms, rolledBack: true })
    this.#step()
  }

  #forgetFailures(): void {
    this.#notBefore = 0
    this.#retryMs = firstRetryMeshMs
  }

  #end(): void {
    this.#change = undefined
    this.#clear('build')
  }

  /** After a while the legs of those who send to each other directly rest. */
  #rest(): void {
    this.#set('linger', lingerMs, () => {
      for (const id of this.#meshed) {
        const member = this.#members.get(id)
        if (member?.flowing) this.#flow(member, false, () => undefined)
      }
    })
  }

  #flow(member: Member, on: boolean, done: (worked: boolean) => void): void {
    if (!on) member.flowing = false
    const asked = ++member.asked
    this.#port
      .flow(member.id, on)
      .then(worked => {
        // A leg that would not rest still carries; one that would not wake still rests.
        // What it was asked later counts.
        if (on === worked && asked === member.asked) member.flowing = true
        done(worked)
      })
      .catch((error: unknown) => this.#port.failed(error))
  }

  #publish(): void {
    this.#port.publish(this.topology)
  }

  #wake(at: number): void {
    if (at !== Number.POSITIVE_INFINITY) this.#set('again', Math.max(0, at - Date.now()), () => this.#step())
  }

  #set(name: 'build' | 'linger' | 'again', ms: number, run: () => void): void {
    this.#clear(name)
    if (!this.#closed) this.#timers.set(name, setTimeout(run, ms))
  }

  #clear(name: 'build' | 'linger' | 'again'): void {
    clearTimeout(this.#timers.get(name))
    this.#timers.delete(name)
  }
}
