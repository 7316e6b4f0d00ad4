import { Counter, Histogram, type Registry } from 'prom-client'
import type { Events } from '../events.ts'
import type { MessageFigures } from '../messaging/messaging.ts'
import { gaugesOf } from './gauge-metrics.ts'

const answerBuckets = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10]
const deliveryBuckets = [0.005, 0.025, 0.1, 0.5, 1, 5, 60, 3600, 86400, 604800]

/** Counts messages between phones; the returned functions end that. */
export function countPagerMessages(registry: Registry, events: Events, figures: () => MessageFigures): (() => void)[] {
  const registers = [registry]
  const gauge = gaugesOf(registry, 'vaartha_messages', figures)
  gauge('kept', 'Messages that wait for their people, on all nodes.', now => now.kept)
  gauge('kept_people', 'People for whom messages wait.', now => now.people)
  gauge('sending', 'Messages that this node is sending.', now => now.sending)
  const answered = new Histogram({
    name: 'vaartha_message_answer_seconds',
    help: 'From a MESSAGE to its answer.',
    buckets: answerBuckets,
    labelNames: ['status'],
    registers,
  })
  const delivered = new Histogram({
    name: 'vaartha_message_delivery_seconds',
    help: 'From a MESSAGE to the first device that has it.',
    buckets: deliveryBuckets,
    labelNames: ['kept'],
    registers,
  })
  const results = new Counter({
    name: 'vaartha_messages_total',
    help: 'Messages answered, by result.',
    labelNames: ['result'],
    registers,
  })
  return [
    events.on('messageAnswered', ({ status, ms }) => {
      results.inc({ result: status === 200 ? 'delivered' : status === 202 ? 'kept' : 'refused' })
      answered.observe({ status }, ms / 1000)
    }),
    events.on('messageDelivered', ({ kept, ms }) => delivered.observe({ kept: String(kept) }, Math.max(0, ms) / 1000)),
  ]
}
