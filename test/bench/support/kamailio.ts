import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { freePorts } from '../../support/server.ts'

// Kamailio as the yardstick: registrations in memory, passwords in a hash table, calls proxied statefully with
// Record-Route, the processes and timers that a plain set-up has. What it does not do, the servers of the bench do not
// have in common: no journal, no call records, no dialog state.

export interface Kamailio {
  readonly port: number
  readonly pid: number
  close(): Promise<void>
}

export interface KamailioOptions {
  domain: string
  /** Users `u0` … with `password`; undefined lets everybody register. */
  users?: { count: number; password: string }
  seconds?: number
}

export async function startKamailio(options: KamailioOptions): Promise<Kamailio> {
  const folder = mkdtempSync(join(tmpdir(), 'vaartha-kamailio-'))
  const [port] = (await freePorts(1)) as [number]
  const file = join(folder, 'kamailio.cfg')
  writeFileSync(file, configuration(port, options))
  const args = ['-f', file, '-DD', '-E', '-m', '1024', '-M', '16', '-Y', folder, '-w', folder]
  const path = `${process.env['PATH']}:/usr/sbin:/sbin`
  const child = spawn('kamailio', args, { stdio: ['ignore', 'ignore', 'pipe'], env: { ...process.env, PATH: path } })
  await listening(child)
  return {
    port,
    pid: child.pid!,
    async close() {
      if (child.exitCode === null) {
        const exited = once(child, 'exit')
        child.kill('SIGTERM')
        await exited
      }
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

function listening(child: ChildProcess): Promise<void> {
  let printed = ''
  return new Promise((ready, failed) => {
    child.stderr!.setEncoding('utf8').on('data', (text: string) => {
      printed = `${printed}${text}`.slice(-5000)
      // Its children come up one by one; the first has the socket open already.
      if (printed.includes('bench is ready')) ready()
    })
    child.once('error', failed)
    child.once('exit', code => failed(new Error(`Kamailio ended with ${code}:\n${printed}`)))
  })
}

function configuration(port: number, { domain, users }: KamailioOptions): string {
  return `#!KAMAILIO
${users === undefined ? '' : '#!define WITH_AUTH'}
debug=0
log_stderror=yes
fork=yes
children=4
disable_tcp=yes
auto_aliases=no
alias="${domain}"
max_while_loops=200000
listen=udp:127.0.0.1:${port}

loadmodule "tm.so"
loadmodule "sl.so"
loadmodule "rr.so"
loadmodule "pv.so"
loadmodule "maxfwd.so"
loadmodule "usrloc.so"
loadmodule "registrar.so"
loadmodule "textops.so"
loadmodule "siputils.so"
loadmodule "xlog.so"
loadmodule "htable.so"
loadmodule "auth.so"

modparam("usrloc", "db_mode", 0)
modparam("usrloc", "hash_size", 14)
modparam("registrar", "max_contacts", 10)
modparam("htable", "htable", "users=>size=14;")

event_route[htable:mod-init] {
  $var(i) = 0;
  while ($var(i) < ${users?.count ?? 0}) {
    $sht(users=>u$var(i)) = "${users?.password ?? ''}";
    $var(i) = $var(i) + 1;
  }
  xlog("L_ALERT", "bench is ready\\n");
}

request_route {
  if (!mf_process_maxfwd_header("10")) {
    sl_send_reply("483", "Too Many Hops");
    exit;
  }
  if (is_method("CANCEL")) {
    if (t_check_trans()) t_relay();
    exit;
  }
  if (has_totag()) {
    if (loose_route()) {
      t_relay();
      exit;
    }
    if (is_method("ACK")) {
      if (t_check_trans()) t_relay();
      exit;
    }
    sl_send_reply("404", "Not Here");
    exit;
  }
  if (is_method("REGISTER")) {
#!ifdef WITH_AUTH
    if (!pv_www_authenticate("$fd", "$sht(users=>$au)", "0")) {
      www_challenge("$fd", "1");
      exit;
    }
#!endif
    if (!save("location")) sl_reply_error();
    exit;
  }
  if (!is_method("INVITE")) {
    sl_send_reply("405", "Method Not Allowed");
    exit;
  }
#!ifdef WITH_AUTH
  if (!pv_proxy_authenticate("$fd", "$sht(users=>$au)", "0")) {
    proxy_challenge("$fd", "1");
    exit;
  }
  consume_credentials();
#!endif
  record_route();
  if (!lookup("location")) {
    sl_send_reply("404", "Not Found");
    exit;
  }
  t_relay();
}
`
}
