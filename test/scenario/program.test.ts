import assert from 'node:assert/strict'
import { once } from 'node:events'
import { statSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { createPhone, type Phone } from '../support/phone.ts'
import { startVaartha, type TestServer } from '../support/server.ts'
import { createUdpPeer, type Peer } from '../support/sip-peer.ts'

// How the program itself lives and what its commands say.

let server: TestServer
const peers: Peer[] = []
const phones = new Map<string, Phone>()

before(async () => {
  server = await startVaartha()
  for (const user of ['ann', 'bob']) {
    const peer = await createUdpPeer(server.ports.sip)
    peers.push(peer)
    const password = await server.addUser(user)
    phones.set(user, createPhone({ peer, user, domain: server.domain, password }))
  }
})
after(async () => {
  for (const peer of peers) peer.close()
  await server?.close()
})

const json = async <T>(...args: string[]): Promise<T> => {
  const { code, stdout, stderr } = await server.cli(...args, '--json')
  assert.equal(code, 0, `${args.join(' ')}: ${stderr}`)
  return JSON.parse(stdout) as T
}
const code = async (...args: string[]) => (await server.cli(...args)).code

/** Starts a second server with other settings; it must end by itself. */
async function failing(settings: Record<string, string>): Promise<string> {
  const error = await startVaartha({ settings }).then(
    async other => {
      await other.close()
      assert.fail('it started')
    },
    (failure: Error) => failure,
  )
  assert.match(error.message, /^Vaartha ended with 1:/)
  assert.doesNotMatch(error.message, /\n\s+at /, 'no stack trace for what is not a bug')
  return error.message
}

describe('commands', () => {
  it('make, list, change and remove people', async () => {
    const added = await json<{ user: string; password: string }>('user', 'add', 'mum', '--display-name', 'Mum')
    assert.ok(added.password.length >= 10)
    const twice = await server.cli('user', 'add', 'mum')
    assert.equal(twice.code, 1)
    assert.match(twice.stderr, /already an account/)
    assert.doesNotMatch(twice.stderr, /\n\s+at /)
    const next = await json<{ password: string }>('user', 'password', 'mum')
    assert.notEqual(next.password, added.password)
    assert.equal(await code('user', 'disable', 'mum'), 0)
    const mum = async () =>
      (await json<{ user: string; enabled: boolean; ha1?: unknown }[]>('user', 'list')).find(a => a.user === 'mum')
    assert.equal((await mum())?.enabled, false)
    assert.equal(await code('user', 'enable', 'mum'), 0)
    assert.equal((await mum())?.enabled, true)
    assert.equal((await mum())?.ha1, undefined)
    assert.equal(await code('user', 'remove', 'mum'), 0)
    assert.equal(await code('user', 'remove', 'mum'), 1)
    assert.equal(await mum(), undefined)
  })

  it('show status, registrations, calls and their history, live facts and figures', async () => {
    const [ann, bob] = [phones.get('ann')!, phones.get('bob')!]
    const live = await fetch(`http://127.0.0.1:${server.ports.http}/api/events?facts=callStarted`, {
      headers: { cookie: await signIn() },
    })
    const facts = live.body!.pipeThrough(new TextDecoderStream()).getReader()
    await facts.read()
    assert.equal((await bob.register()).status, 200)
    const [answered] = await Promise.all([ann.call('bob'), bob.answer()])
    assert.equal(answered.status, 200)
    const { value } = await facts.read()
    assert.match(value ?? '', /^event: callStarted\ndata: .*"to":"sip:bob@/)
    await facts.cancel()
    const status = await json<{ ready: boolean; registrations: number; calls: number }>('status')
    assert.deepEqual([status.ready, status.registrations, status.calls], [true, 1, 1])
    assert.equal((await json<{ aor: string }[]>('registrations'))[0]?.aor, `sip:bob@${server.domain}`)
    assert.equal((await json<unknown[]>('calls')).length, 1)
    await Promise.all([ann.hangUp(), bob.takeBye()])
    const [record] = await json<{ result: string; to: string }[]>('calls', '--history')
    assert.equal(record?.result, 'answered')
    for (const words of [['status'], ['registrations'], ['calls'], ['calls', '--history']])
      assert.equal(await code(...words), 0)
    const figures = await (await fetch(`http://127.0.0.1:${server.ports.http}/metrics`)).text()
    assert.match(figures, /vaartha_registrations 1\n/)
    assert.match(figures, /vaartha_register_seconds_count\{status="200"\} 1\n/)
    assert.match(figures, /vaartha_calls_total\{result="answered"\} 1\n/)
    assert.match(figures, /vaartha_sip_messages_total\{direction="in",method="INVITE",status="request"\} [1-9]/)
    assert.equal((await fetch(`http://127.0.0.1:${server.ports.http}/health`)).status, 200)
  })

  async function signIn(): Promise<string> {
    const { code: ended, stdout } = await server.cli('admin', 'link')
    assert.equal(ended, 0)
    const link = stdout.trim().split('\n')[0]!
    const post = () => fetch(link, { method: 'POST', body: new URLSearchParams(), redirect: 'manual' })
    const answer = await post()
    assert.equal(answer.status, 303)
    assert.equal((await post()).status, 403)
    return answer.headers.get('set-cookie')!.split(';')[0]!
  }

  it('print a link whose session outlives a restart', async () => {
    const cookie = await signIn()
    await server.stop()
    const began = performance.now()
    await server.restart()
    assert.ok(performance.now() - began < 2000, 'a second start is fast')
    const page = await (await fetch(`http://127.0.0.1:${server.ports.http}/status`, { headers: { cookie } })).text()
    assert.match(page, /Sign out/)
  })

  it('examine this machine', async () => {
    const findings = await json<{ about: string; state: string }[]>('doctor')
    assert.equal(findings.find(f => f.about === 'server')?.state, 'good')
    await server.stop()
    const other = createServer().listen(server.ports.sip, '127.0.0.1')
    await once(other, 'listening')
    try {
      const { code: ended, stdout } = await server.cli('doctor')
      assert.equal(ended, 4)
      assert.match(stdout, new RegExp(`WRONG.*tcp port ${server.ports.sip} on 127.0.0.1 is used by another program`))
      assert.match(stdout, /→ find it with: ss/)
    } finally {
      other.close()
    }
    const away = await server.cli('status')
    assert.equal(away.code, 3)
    assert.match(away.stderr, /no server runs/)
    await server.restart()
  })

  it('check the configuration, and refuse words that nobody knows', async () => {
    assert.equal(await code('config', 'check'), 0)
    const unknown = await server.cli('sevre')
    assert.equal(unknown.code, 2)
    assert.match(unknown.stderr, /unknown command/)
    assert.equal(await code('--help'), 0)
    assert.equal(await code('user', 'add', '--help'), 0)
  })
})

describe('the program', () => {
  it('keeps its data from others', () => {
    assert.equal(statSync(server.data).mode & 0o777, 0o700)
  })

  it('ends calls on both sides when it is stopped, within five seconds', async () => {
    const [ann, bob] = [phones.get('ann')!, phones.get('bob')!]
    assert.equal((await bob.register()).status, 200)
    await Promise.all([ann.call('bob'), bob.answer()])
    const began = performance.now()
    const [ended] = await Promise.all([server.stop(), ann.takeBye(5000), bob.takeBye(5000)])
    assert.equal(ended, 0)
    assert.ok(performance.now() - began < 5000)
    await server.restart()
  })

  it('ends at once at the second signal', async () => {
    const [ann, bob] = [phones.get('ann')!, phones.get('bob')!]
    assert.equal((await bob.register()).status, 200)
    await Promise.all([ann.call('bob'), bob.answer()])
    // Nobody answers the BYEs, so it would drain for seconds.
    const ended = server.stop()
    await ann.peer.request('BYE')
    await bob.peer.request('BYE')
    await new Promise(done => setTimeout(done, 600))
    const began = performance.now()
    process.kill(server.pid, 'SIGTERM')
    assert.equal(await ended, 1)
    assert.ok(performance.now() - began < 500)
    await server.restart()
  })

  it('names a port in use in one line and leaves nothing half open', async () => {
    for (const [setting, port] of [
      ['VAARTHA_SIP_UDP', server.ports.sip],
      ['VAARTHA_SIP_TCP', server.ports.sip],
      ['VAARTHA_SIP_TLS', server.ports.tls],
      ['VAARTHA_HTTP_PORT', server.ports.http],
    ] as const) {
      const text = await failing({ [setting]: String(port) })
      const said = text.split('\n').filter(line => line.startsWith('vaartha: '))
      assert.equal(said.length, 1, text)
      assert.match(said[0]!, new RegExp(`${port}\\b.*in use`), text)
    }
  })

  it('refuses a data directory that it may not write', async () => {
    // Below a file nobody can make a folder, root neither.
    const text = await failing({ VAARTHA_DATA: join(server.data, 'admin.token/data') })
    assert.match(text, /vaartha: data directory .*: .*'data'/)
  })

  it('refuses a wrong configuration', async () => {
    assert.match(await failing({ VAARTHA_SIP_UPD: '1' }), /VAARTHA_SIP_UPD.*VAARTHA_SIP_UDP/s)
  })
})
