import { rmSync, writeFileSync } from 'node:fs'
import { formatHost } from '../sip/engine/message/uri.ts'
import type { Http } from './http.ts'

/** Tells the commands of this machine where the API is. */
export function writeRunFile(file: string, http: Http): { close(): void } {
  const points = http.points()
  const loopback =
    points.find(p => !p.secure && (p.address === '127.0.0.1' || p.address === '::1')) ?? points.find(p => !p.secure)
  const api = loopback === undefined ? undefined : `http://${formatHost(loopback.address)}:${loopback.port}`
  writeFileSync(file, JSON.stringify({ pid: process.pid, api, started: new Date().toISOString() }), { mode: 0o600 })
  return { close: () => rmSync(file, { force: true }) }
}
