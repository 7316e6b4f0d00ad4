import assert from 'node:assert/strict'
import { it } from 'node:test'
import { createEvents, type Events } from '../../src/events.ts'
import { createSilentLog } from '../../src/log.ts'
import { createRedisLink } from '../../src/redis/link.ts'
import type { RedisLink } from '../../src/redis/redis.ts'

let prefixes = 0

/** Opens a link that answers, with a prefix of its own; close it. */
export async function openLink(redis: string, timeoutMs = 2000, events: Events = createEvents()) {
  const prefix = `l${++prefixes}`
  const link = createRedisLink({ config: { redis, prefix, timeoutMs }, events, log: createSilentLog() })
  if (!(await link.ready())) await change(link, true)
  return { link, prefix }
}

/** Resolves when the link is well, or ill. */
export function change(link: RedisLink, healthy: boolean): Promise<void> {
  if (link.healthy() === healthy) return Promise.resolve()
  return new Promise(resolve => {
    const off = link.onChange(now => {
      if (now !== healthy) return
      off()
      resolve()
    })
  })
}

/** What a link does over any kind of Redis. */
export function redisLinkContract(url: () => string): void {
  async function opened(work: (link: RedisLink, prefix: string) => Promise<void>): Promise<void> {
    const { link, prefix } = await openLink(url())
    try {
      await work(link, prefix)
    } finally {
      await link.close()
      await link.close()
    }
  }

  it('asks', () =>
    opened(async (link, prefix) => {
      assert.equal(await link.ask('set', redis => redis.set(`${prefix}:a`, '1')), 'OK')
      assert.equal(await link.ask('get', redis => redis.get(`${prefix}:a`)), '1')
      assert.deepEqual([link.healthy(), link.why()], [true, ''])
    }))

  it('runs scripts of its own', () =>
    opened(async (link, prefix) => {
      const add = link.script<number>('add', "return redis.call('INCRBY', KEYS[1], ARGV[1])", 1)
      assert.equal(await add(`${prefix}:{n}`, 2), 2)
      assert.equal(await add(`${prefix}:{n}`, 3), 5)
    }))

  it('lets a mistake of ours through and stays well', () =>
    opened(async (link, prefix) => {
      await link.ask('set', redis => redis.set(`${prefix}:a`, 'text'))
      await assert.rejects(
        link.ask('wrong', redis => redis.hget(`${prefix}:a`, 'x')),
        /WRONGTYPE/,
      )
      await assert.rejects(
        link.ask('bug', async () => JSON.parse('{')),
        SyntaxError,
      )
      assert.equal(link.healthy(), true)
    }))

  it('walks over the keys of a prefix, whatever signs it has', () =>
    opened(async (link, prefix) => {
      const keys = Array.from({ length: 50 }, (_, n) => `${prefix}[x]*:{${n}}`)
      for (const key of [...keys, `${prefix}x:1`]) await link.ask('set', redis => redis.set(key, '1'))
      const met: string[] = []
      for await (const page of link.scan(`${prefix}[x]*`, 10)) met.push(...page)
      assert.deepEqual(new Set(met), new Set(keys))
    }))

  it('hears what is published, each channel for itself', () =>
    opened(async (link, prefix) => {
      const heard: string[] = []
      const both = Promise.withResolvers<void>()
      const back = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
      const listen = (name: string) => (message: string) => {
        heard.push(name + message)
        if (heard.length === 2) both.resolve()
      }
      const stop = await link.subscribe(`${prefix}:a`, listen('a'), () => back[0]!.resolve())
      await link.subscribe(`${prefix}:b`, listen('b'), () => back[1]!.resolve())
      await Promise.all(back.map(({ promise }) => promise))
      await link.publish(`${prefix}:a`, '1')
      await link.publish(`${prefix}:b`, '2')
      await both.promise
      stop()
      assert.deepEqual(heard.sort(), ['a1', 'b2'])
    }))

  it('refuses what comes after the end', async () => {
    const { link } = await openLink(url())
    await link.close()
    await assert.rejects(
      link.ask('ping', redis => redis.ping()),
      { code: 'store-unavailable' },
    )
  })
}
