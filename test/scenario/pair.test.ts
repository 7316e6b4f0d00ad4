import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { test } from 'node:test'
import { nodeFlags } from '../../src/cli/node-flags.mjs'
import { type Baresip, startBaresip } from '../support/baresip.ts'
import { until } from '../support/pair.ts'
import { freePorts } from '../support/server.ts'
import { secondsOf } from '../support/tone.ts'

// What docs/pair.md promises a newcomer, by the very command that it names.

const program = [...nodeFlags, resolve(import.meta.dirname, '../../src/main.ts')]

interface Line {
  answered?: string
  endedBy?: string
}

test('of `vaartha pair` the node of a call is killed: both talk on, hang up, and the record is there once', async t => {
  const data = mkdtempSync(join(tmpdir(), 'vaartha-pair-'))
  const [port, sip, http] = (await freePorts(3)) as [number, number, number]
  const env: NodeJS.ProcessEnv = {
    PATH: process.env['PATH'],
    HOME: process.env['HOME'],
    NODE_COMPILE_CACHE: join(tmpdir(), 'vaartha-compile-cache'),
    VAARTHA_CONFIG: '/dev/null',
    VAARTHA_DATA: data,
    VAARTHA_NETWORK_LISTEN: '127.0.0.1',
    VAARTHA_DISCOVERY_ENABLED: 'false',
    VAARTHA_LOG_FORMAT: 'json',
  }
  const ports = ['--port', port, '--sip', sip, '--http', http, '--restart', 12].map(String)
  const pair = spawn(process.execPath, [...program, 'pair', ...ports], { env, stdio: ['ignore', 'pipe', 'pipe'] })
  const phones: Baresip[] = []
  t.after(async () => {
    for (const phone of phones) phone.kill()
    await end(pair)
    rmSync(data, { recursive: true, force: true })
  })
  let printed = ''
  for (const stream of [pair.stdout, pair.stderr]) stream.setEncoding('utf8').on('data', text => (printed += text))
  const prints = (pattern: RegExp) => until(() => pattern.test(printed) || pair.exitCode !== null, 60_000)
  await prints(/Both nodes are ready/)

  async function call<T>(node: 'a' | 'b', path: string, body?: object): Promise<T> {
    const token = readFileSync(join(data, 'pair', node, 'admin.token'), 'utf8').trim()
    const answer = await fetch(`http://127.0.0.1:${node === 'a' ? http : http + 100}${path}`, {
      method: body === undefined ? 'GET' : 'POST',
      headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    })
    if (!answer.ok) throw new Error(`${path}: ${answer.status}\n${printed.slice(-4000)}`)
    return (await answer.json()) as T
  }
  async function phone(user: string, tone: number): Promise<Baresip> {
    const { password } = await call<{ password: string }>('a', '/api/accounts', { user })
    await until(async () => JSON.stringify(await call('b', '/api/accounts')).includes(`"${user}"`), 10_000)
    const server = `127.0.0.1:${sip}`
    const account = `;sipnat=outbound;outbound2="sip:127.0.0.1:${sip + 100}"`
    const made = await startBaresip({ user, password, domain: 'vaartha.local', server, tone, account })
    phones.push(made)
    return made
  }

  const authority = (node: string) => readFileSync(join(data, 'pair', node, 'certificates/ca.crt'), 'utf8')
  assert.equal(authority('a'), authority('b'))
  const [mum, dad] = [await phone('mum', 440), await phone('dad', 660)]
  await mum.command('dial', 'sip:dad@vaartha.local')
  await dad.event('CALL_INCOMING')
  await dad.command('accept')
  await Promise.all([mum.event('CALL_ESTABLISHED'), dad.event('CALL_ESTABLISHED')])
  const heard = (by: Baresip, tone: number) => Math.max(0, ...by.heard().map(sound => secondsOf(sound, tone)))
  await until(() => heard(dad, 440) > 1 && heard(mum, 660) > 1, 10_000)

  process.kill(Number(/node a: pid (\d+)/.exec(printed)![1]), 'SIGKILL')
  const before = heard(dad, 440)
  const began = performance.now()
  await until(async () => (await call<unknown[]>('b', '/api/calls')).length === 1, 10_000)
  await until(() => heard(dad, 440) > before + 3 && heard(mum, 660) > 3, 10_000)
  const gap = (performance.now() - began) / 1000 - (heard(dad, 440) - before)
  t.diagnostic(`the other node had the call and both were heard; at most ${gap.toFixed(1)} s of sound were missing`)
  assert.ok(gap < 0.5, `a gap of ${gap} s`)

  await mum.command('hangup')
  await dad.event('CALL_CLOSED', 15_000)
  await until(async () => (await call<Line[]>('b', '/api/history')).length > 0, 10_000)
  await prints(/node a: pid [\s\S]*node a: pid [\s\S]*"msg":"ready"/)
  await until(async () => (await historyOf('a')).length > 0, 40_000)
  for (const node of ['a', 'b'] as const) {
    const lines = await call<Line[]>(node, '/api/history')
    assert.equal(lines.length, 1, `of ${node}`)
    assert.ok(lines[0]?.answered !== undefined)
  }

  // The command that the pair names: it does all of this by itself, and measures.
  const command = /Or see it measured: npm run vaartha -- (.*)/.exec(printed)![1]!.split(' ')
  const drill = spawn(process.execPath, [...program, ...command], { env, stdio: ['ignore', 'pipe', 'inherit'] })
  let told = ''
  drill.stdout.setEncoding('utf8').on('data', text => (told += text))
  await once(drill, 'close')
  assert.match(
    told,
    /kill a, conducted by b.*calls lost +0 of 4 .*gap in direct sound +0 ms .*call records +5 here, 5 there/s,
  )

  /** Nothing while that node starts. */
  function historyOf(node: 'a' | 'b'): Promise<Line[]> {
    return call<Line[]>(node, '/api/history').catch(() => [])
  }
})

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const gone = once(child, 'exit')
  child.kill('SIGTERM')
  await gone
}
