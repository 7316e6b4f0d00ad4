import { monitorEventLoopDelay } from 'node:perf_hooks'
import { Counter, Gauge, Histogram, Registry } from 'prom-client'
import type { ClusterStats } from '../cluster/cluster.ts'
import type { DirectoryFigures } from '../cluster/directory/directory.ts'
import type { DrillView } from '../drill/drills.ts'
import { Refusal } from '../errors.ts'
import type { Events, Facts } from '../events.ts'
import type { MaybePromise } from '../location/store.ts'
import type { MediaLoad } from '../media/media.ts'
import type { MessageFigures } from '../messaging/messaging.ts'
import type { EngineStats } from '../sip/engine/engine.ts'
import { gaugesOf } from './gauge-metrics.ts'
import { countMediaNodes } from './media-metrics.ts'
import { countPagerMessages } from './message-metrics.ts'

export interface Metrics {
  readonly contentType: string
  /** All figures in the text format of Prometheus. */
  text(): Promise<string>
  close(): void
}

/** What is shared with other nodes. */
interface StoreFigures {
  healthy: boolean
  replica: number
  waiting: number
}

export interface MetricsDeps {
  events: Events
  version: string
  registrations(): MaybePromise<number>
  calls(): number
  meetings(): readonly { shape: string; members: readonly unknown[] }[]
  mediaLoad(): MediaLoad
  messages(): MessageFigures
  storeFigures(): StoreFigures | undefined
  clusterStats(): ClusterStats | undefined
  directoryFigures(): DirectoryFigures | undefined
  drills(): DrillView
  engineStats(): EngineStats | undefined
}

// A stranger may invent methods; only these become labels.
const methods = [
  'REGISTER', 'INVITE', 'ACK', 'BYE', 'CANCEL', 'OPTIONS', 'PRACK', 'UPDATE', 'INFO', 'REFER', 'NOTIFY', 'SUBSCRIBE',
  'PUBLISH', 'MESSAGE', 'other',
] // biome-ignore format: one list
const classes = ['request', '1xx', '2xx', '3xx', '4xx', '5xx', '6xx']

const answerBuckets = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10]
const shapeBuckets = [0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10]
const setupBuckets = [0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 20, 30, 60, 120]

/** Counts facts and reads gauges when asked. */
export function createMetrics(deps: MetricsDeps): Metrics {
  const registry = new Registry()
  // Looking more often would wake an idle server up more often than anything else does.
  const delay = monitorEventLoopDelay({ resolution: 100 })
  delay.enable()
  const stops = [...countFacts(registry, deps.events), countMessages(registry, deps.events)]
  stops.push(...countMediaNodes(registry, deps.events, deps.mediaLoad))
  stops.push(...countPagerMessages(registry, deps.events, deps.messages))
  addGauges(registry, deps)
  addMedia(registry, deps)
  addCluster(registry, deps)
  addStore(registry, deps)
  addDirectory(registry, deps)
  addDrills(registry, deps)
  addProcess(registry, delay)
  return {
    contentType: registry.contentType,
    text: () => registry.metrics(),
    close() {
      for (const stop of stops.splice(0)) stop()
      delay.disable()
    },
  }
}

function countFacts(registry: Registry, events: Events): (() => void)[] {
  const registers = [registry]
  const counter = <L extends string>(name: string, help: string, labelNames: L[]) =>
    new Counter({ name: `vaartha_${name}_total`, help, labelNames, registers })
  const histogram = <L extends string>(name: string, help: string, buckets: number[], labelNames: L[]) =>
    new Histogram({ name: `vaartha_${name}_seconds`, help, buckets, labelNames, registers })

  const answered = histogram('register', 'Time from a REGISTER to its answer.', answerBuckets, ['status'])
  const bound = counter('bindings', 'Bindings made or renewed.', ['change'])
  const unbound = counter('bindings_ended', 'Bindings ended, by reason.', ['why'])
  const ended = counter('calls', 'Ended calls, by result.', ['result'])
  const setup = histogram('call_setup', 'Time from an INVITE to its answer.', setupBuckets, [])
  const ringing = histogram('call_ringing', 'Time from an INVITE to the first ringing.', setupBuckets, [])
  const malformed = counter('malformed', 'Received data that is no SIP message or breaks a limit.', ['protocol'])
  const auth = counter('auth_failures', 'Wrong proofs of identity.', ['why'])
  const bans = counter('bans', 'Addresses banned for wrong passwords.', [])
  const store = counter('store_errors', 'Failed store operations.', ['store'])
  const redis = histogram('redis', 'Time from a question to Redis to its answer.', answerBuckets, [])
  const meetings = counter('meetings', 'Ended meetings.', [])
  const moved = counter('meetings_taken', 'Meetings of other nodes that went on here.', [])
  const passed = counter('meeting_requests_passed', 'Requests for a meeting that went to the node that has it.', [
    'method',
  ])
  const lasted = histogram('meeting', 'How long meetings lasted.', [10, 60, 300, 900, 3600, 14400], [])
  const shapes = counter('topology_changes', 'Changes of the shape of a meeting.', ['from', 'to', 'result'])
  const changing = histogram('topology_change', 'From the decision to all being on the new path.', shapeBuckets, ['to'])
  const workers = counter('media_workers_died', 'SFU workers that died and were replaced.', [])
  const opened = counter('flows_opened', 'Connections and UDP peers that came.', ['protocol'])

  return [
    events.on('registerAnswered', f => answered.observe({ status: f.status }, f.ms / 1000)),
    events.on('registered', f => bound.inc({ change: f.renewed ? 'renewed' : 'new' })),
    events.on('unregistered', f => unbound.inc({ why: f.why })),
    events.on('callEnded', f => ended.inc({ result: f.result })),
    events.on('callAnswered', f => setup.observe(f.ms / 1000)),
    events.on('callRinging', f => ringing.observe(f.ms / 1000)),
    events.on('malformed', f => malformed.inc({ protocol: f.protocol })),
    events.on('authFailed', f => auth.inc({ why: f.why })),
    events.on('banned', () => bans.inc()),
    events.on('storeFailed', f => store.inc({ store: f.store })),
    events.on('redisAnswered', f => redis.observe(f.ms / 1000)),
    events.on('groupEnded', f => {
      meetings.inc()
      lasted.observe(f.seconds)
    }),
    events.on('groupTaken', () => moved.inc()),
    events.on('groupPassed', f => passed.inc({ method: f.method })),
    events.on('topologyChanged', f => {
      shapes.inc({ from: f.from, to: f.to, result: f.rolledBack ? 'rolled-back' : 'done' })
      if (!f.rolledBack) changing.observe({ to: f.to }, f.ms / 1000)
    }),
    events.on('workerDied', () => workers.inc()),
    events.on('flowOpened', f => opened.inc({ protocol: f.protocol })),
  ]
}

/** Thousands of messages pass a second, so they are counted in a plain array that is read when somebody asks. */
function countMessages(registry: Registry, events: Events): () => void {
  const numbers = new Map(methods.map((method, index) => [method, index]))
  const other = methods.length - 1
  const perDirection = methods.length * classes.length
  const counts = new Float64Array(2 * perDirection)
  new Counter({
    name: 'vaartha_sip_messages_total',
    help: 'SIP messages that passed the engine.',
    labelNames: ['direction', 'method', 'status'],
    registers: [registry],
    collect() {
      this.reset()
      for (let i = 0; i < counts.length; i++) {
        if (counts[i] === 0) continue
        const direction = i < perDirection ? 'in' : 'out'
        const method = methods[Math.floor((i % perDirection) / classes.length)]!
        this.inc({ direction, method, status: classes[i % classes.length]! }, counts[i]!)
      }
    },
  })
  return events.on('sipMessage', (fact: Facts['sipMessage']) => {
    const method = numbers.get(fact.method) ?? other
    const kind = Math.min(6, Math.floor(fact.status / 100))
    const at = (fact.direction === 'in' ? 0 : perDirection) + method * classes.length + kind
    counts[at] = counts[at]! + 1
  })
}

/** What is shared with other nodes through Redis. */
function addStore(registry: Registry, deps: MetricsDeps): void {
  const gauge = gaugesOf(registry, 'vaartha', deps.storeFigures)
  gauge('redis_up', '1 while Redis serves us, 0 while we go on without it.', figures => Number(figures.healthy))
  gauge('replica_bindings', 'Bindings of all nodes held in memory.', figures => figures.replica)
  gauge('store_waiting', 'Addresses whose registrations wait to be written to Redis.', figures => figures.waiting)
}

/** This node's copy of accounts, groups, invitations and records. */
function addDirectory(registry: Registry, deps: MetricsDeps): void {
  const gauge = gaugesOf(registry, 'vaartha_directory', deps.directoryFigures)
  gauge('waiting', 'Rows that the other nodes have not been told.', figures => figures.waiting)
  gauge('behind_seconds', 'How long the oldest of them has waited.', figures => figures.behindMs / 1000)
  gauge('lag_seconds', 'Age of the newest row of another node when it came.', figures => figures.lagMs / 1000)
  gauge('conflicts', 'Rows that were changed on two nodes at once, since the start.', figures => figures.conflicts)
  gauge('failed', 'Rows of other nodes that could not be read or kept, since the start.', figures => figures.failed)
}

function addGauges(registry: Registry, deps: MetricsDeps): void {
  const registers = [registry]
  new Gauge({
    name: 'vaartha_registrations',
    help: 'Bindings there are; NaN while the store does not answer.',
    registers,
    async collect() {
      try {
        this.set(await deps.registrations())
      } catch (error) {
        // The other figures are wanted most of all while the store is away.
        if (!(error instanceof Refusal)) throw error
        this.set(Number.NaN)
      }
    },
  })
  new Gauge({
    name: 'vaartha_active_calls',
    help: 'Calls going on.',
    registers,
    collect() {
      this.set(deps.calls())
    },
  })
  new Gauge({
    name: 'vaartha_active_meetings',
    help: 'Meetings going on.',
    registers,
    collect() {
      this.set(deps.meetings().length)
    },
  })
  new Gauge({
    name: 'vaartha_meeting_members',
    help: 'People in meetings, by the shape of these.',
    labelNames: ['shape'],
    registers,
    collect() {
      this.reset()
      for (const { shape, members } of deps.meetings()) this.inc({ shape }, members.length)
    },
  })
  new Gauge({
    name: 'vaartha_engine_objects',
    help: 'What the SIP engine holds now: transactions, dialogs, flows.',
    labelNames: ['kind'],
    registers,
    collect() {
      for (const [kind, value] of Object.entries(deps.engineStats() ?? {})) {
        if (typeof value === 'number') this.set({ kind }, value)
      }
    },
  })
  new Gauge({
    name: 'vaartha_flows',
    help: 'Open connections and known UDP peers.',
    labelNames: ['protocol'],
    registers,
    collect() {
      for (const [protocol, value] of Object.entries(deps.engineStats()?.byProtocol ?? {}))
        this.set({ protocol }, value)
    },
  })
  new Gauge({
    name: 'vaartha_info',
    help: 'Always 1; the labels tell the versions.',
    labelNames: ['version', 'node'],
    registers,
  }).set({ version: deps.version, node: process.version }, 1)
}

function addCluster(registry: Registry, { clusterStats }: Pick<MetricsDeps, 'clusterStats'>): void {
  const registers = [registry]
  const gauge = gaugesOf(registry, 'vaartha', clusterStats)
  gauge('cluster_lease_age_seconds', 'Since this node renewed its lease.', stats => stats.leaseAge / 1000)
  gauge('cluster_leads', '1 while this node leads.', stats => (stats.leading ? 1 : 0))
  gauge('cluster_term', 'The term of the leader that this node knows of last.', stats => stats.term)
  gauge('cluster_facts_dropped', 'Facts that found no way to a node, since the start.', stats => stats.dropped)
  gauge('kept_held', 'Calls and meetings that this node keeps for others.', stats => stats.held)
  gauge('kept_waiting', 'Those whose newest state the store does not have yet.', stats => stats.waiting)
  gauge('kept_refused', 'Those that turned out to be owned by another node, since the start.', stats => stats.refused)
  gauge('kept_taken', 'Those taken over from other nodes, since the start.', stats => stats.taken)
  new Gauge({
    name: 'vaartha_cluster_nodes',
    help: 'Nodes, by their state as this one sees it.',
    labelNames: ['state'],
    registers,
    collect() {
      for (const [state, count] of Object.entries(clusterStats()?.states ?? {})) this.set({ state }, count)
    },
  })
}

/** The last drill that was done; none is shown before there was one. */
function addDrills(registry: Registry, { drills }: Pick<MetricsDeps, 'drills'>): void {
  const last = () => drills().reports.find(({ result }) => result !== 'skipped')
  const gauge = gaugesOf(registry, 'vaartha_drill_last', last)
  gauge('passed', '1 when the last drill met its aims, else 0.', ({ result }) => (result === 'passed' ? 1 : 0))
  gauge('began_seconds', 'When it began, in seconds since 1970.', ({ began }) => Date.parse(began) / 1000)
  gauge('calls_lost', 'Its test calls that were lost.', ({ calls }) => calls.filter(({ kept }) => !kept).length)
}

// prom-client's own collectors of these can't be stopped again.
function addMedia(registry: Registry, { mediaLoad }: Pick<MetricsDeps, 'mediaLoad'>): void {
  const registers = [registry]
  const gauge = gaugesOf(registry, 'vaartha_media', mediaLoad)
  gauge('ports', 'Plain phones whose media goes through this server.', load => load.ports)
  gauge('rooms', 'Bridges, meetings and tests that carry media now.', load => load.rooms)
  gauge('workers', 'SFU worker processes.', load => load.workers.length)
  gauge('worker_legs', 'Browsers whose media goes through SFU workers.', load => sum(load, worker => worker.legs))
  gauge('worker_cpu_seconds', 'CPU seconds of the living SFU workers.', load => sum(load, worker => worker.cpuSeconds))
  gauge('audio_cpu_seconds', 'CPU seconds of the audio thread since it began.', load => load.audioCpuSeconds)
  new Gauge({
    name: 'vaartha_media_packets',
    help: 'Packets of the audio thread since it began.',
    labelNames: ['direction'],
    registers,
    collect() {
      for (const [direction, value] of Object.entries(mediaLoad().packets)) this.set({ direction }, value)
    },
  })
}

function sum(load: MediaLoad, read: (worker: MediaLoad['workers'][number]) => number): number {
  return load.workers.reduce((total, worker) => total + read(worker), 0)
}

function addProcess(registry: Registry, delay: ReturnType<typeof monitorEventLoopDelay>): void {
  const registers = [registry]
  new Gauge({
    name: 'vaartha_memory_bytes',
    help: 'Memory of the process.',
    labelNames: ['kind'],
    registers,
    collect() {
      const { rss, heapUsed, heapTotal, external } = process.memoryUsage()
      for (const [kind, value] of Object.entries({ rss, heapUsed, heapTotal, external })) this.set({ kind }, value)
    },
  })
  new Counter({
    name: 'vaartha_cpu_seconds_total',
    help: 'CPU time of the process.',
    labelNames: ['mode'],
    registers,
    collect() {
      const { user, system } = process.cpuUsage()
      this.reset()
      this.inc({ mode: 'user' }, user / 1e6)
      this.inc({ mode: 'system' }, system / 1e6)
    },
  })
  new Gauge({
    name: 'vaartha_start_time_seconds',
    help: 'When the process began, in seconds since 1970.',
    registers,
  }).set(Math.round(Date.now() / 1000 - process.uptime()))
  new Gauge({
    name: 'vaartha_event_loop_lag_seconds',
    help: 'Delay of the event loop since the last reading.',
    labelNames: ['quantile'],
    registers,
    collect() {
      this.set({ quantile: '0.5' }, delay.percentile(50) / 1e9)
      this.set({ quantile: '0.99' }, delay.percentile(99) / 1e9)
      this.set({ quantile: '1' }, delay.max / 1e9)
      delay.reset()
    },
  })
}
