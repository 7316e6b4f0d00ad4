import type { IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'
import type { Accounts } from '../accounts/accounts.ts'
import type { Invitations } from '../accounts/invitations.ts'
import type { Auth } from '../auth/auth.ts'
import type { Calls } from '../calls/calls.ts'
import type { DirectoryFigures } from '../cluster/directory/directory.ts'
import type { Nodes } from '../cluster/nodes.ts'
import type { SessionTable } from '../cluster/sessions.ts'
import type { Config } from '../config/schema.ts'
import type { Drills } from '../drill/drills.ts'
import type { Events } from '../events.ts'
import type { Groups } from '../groups/groups.ts'
import type { Recordings } from '../groups/recorder.ts'
import type { GroupStore } from '../groups/store.ts'
import type { Logger } from '../log.ts'
import type { MediaLoad, MediaState } from '../media/media.ts'
import type { MessageFigures } from '../messaging/messaging.ts'
import type { AddressWatch } from '../network/interfaces.ts'
import type { Records } from '../records/records.ts'
import type { Registrar } from '../registrar/registrar.ts'
import type { EngineStats } from '../sip/engine/engine.ts'
import type { WebPhone } from './web-build.ts'

export interface Health {
  ready: boolean
  /** It serves, but something that it stands on does not. */
  degraded: boolean
  /** Why it is not ready or degraded, in plain words. */
  reasons: string[]
  /** What is on and what is off, and why. */
  parts: Record<string, { on: boolean; why: string }>
  /** The SFU worker; phones register and call each other without it. */
  media: MediaState
}

/** What the status page and `/api/status` say about the server. */
export interface Info {
  name: string
  domain: string
  version: string
  /** `udp 192.0.2.1:5060`, `https 192.0.2.1:443` … */
  points: string[]
  accounts: number
}

export interface Certificates {
  /** PEM texts. */
  current(): { key: string; cert: string }
  onChange(listener: () => void): () => void
  /** The local authority's certificate; undefined when the operator brought a certificate. */
  caPem(): string | undefined
}

/** What the HTTP front needs of the rooms below it. */
export interface HttpDeps {
  config: Config['http']
  addresses: AddressWatch
  /** True for a peer that may talk to this server. */
  allowed(address: string): boolean
  certificates: Certificates
  /** Bearer token of the administrator. */
  adminToken: string
  /** Where the administrator's sessions are kept over a restart. */
  sessionsFile: string
  /** Signed-in browsers that other nodes know too: administrators, and people with the web phone. */
  sessionTables?: { admins: SessionTable; phones: SessionTable }
  /** The SIP domain of the accounts. */
  domain: string
  accounts: Accounts
  invitations: Invitations
  auth: Pick<Auth, 'check'>
  web: WebPhone
  registrations: Pick<Registrar, 'list' | 'count' | 'remove'>
  calls: Pick<Calls, 'list' | 'hangUp' | 'record' | 'mayRecord'>
  records: Pick<Records, 'list'>
  groups: GroupStore
  /** Messages that are kept, and whose; and those that this node is sending. */
  messages(): MessageFigures
  /** The nodes of the cluster; undefined for a node by itself. */
  nodes?: Nodes | undefined
  drills: Pick<Drills, 'order' | 'view'>
  /** `host:port` of HTTPS of the other nodes that are up: the page of the web phone goes on there when this one dies. */
  otherPlaces?(): readonly string[]
  meetings: Pick<Groups, 'list' | 'isOn' | 'act'>
  recordings: Pick<Recordings, 'list' | 'get' | 'path' | 'remove'>
  health(): Health
  mediaLoad(): MediaLoad
  /** How this node's copy of what all nodes share stands; left out by a node by itself. */
  directoryFigures?(): DirectoryFigures
  /** What the shared store of registrations holds; undefined without one. */
  storeFigures?(): { healthy: boolean; replica: number; waiting: number } | undefined
  info(): Promise<Info>
  /** When the server began, in ms since 1970. */
  began: number
  /** Undefined with an external engine. */
  engineStats(): EngineStats | undefined
  /** Takes over an upgrade to WebSocket on `/sip`; `secure` on HTTPS. */
  acceptWebSocket?(request: IncomingMessage, socket: Duplex, head: Buffer, secure: boolean): void
  events: Events
  log: Logger
}
