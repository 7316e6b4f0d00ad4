import type { DatabaseSync } from 'node:sqlite'
import { Refusal } from '../errors.ts'
import { changesSchema, type SharedRowsTable, type SharingTable, sharingSchema } from './sharing.ts'

// The tables, as SQL and as types, side by side. A step that has been released is never changed: a new one is added.

/** One person. `roles` is a comma-separated list; `created` is ISO 8601; flags are 0 or 1; hashes are lower-case hex. */
export interface AccountsTable {
  domain: string
  user: string
  display_name: string
  enabled: number
  roles: string
  created: string
  md5_seen: number
  ha1_sha256: string
  ha1_md5: string
  /** The same with `user@domain` as the user name, which some phones send. */
  ha1b_sha256: string
  ha1b_md5: string
}

/** One ended call. Times are ISO 8601 in UTC, so that their text order is their order in time. */
export interface CallsTable {
  id: string
  from_aor: string
  to_aor: string
  started: string
  answered: string | null
  ended: string
  seconds: number
  result: string
  status: number
  reason: string
  legs: string
}

/** A link that lets one browser in as one person, once; `token` is its SHA-256, `ends` ISO 8601. */
export interface InvitationsTable {
  token: string
  domain: string
  user: string
  ends: string
}

/** A group's address and how it behaves. `pin` is salt and hash in hex; flags are 0 or 1. */
export interface GroupsTable {
  domain: string
  name: string
  display_name: string
  ring: string
  record: number
  announce: number
  pin: string | null
  most: number | null
  created: string
  /** What is kept of its meetings for other nodes; null: as configured. */
  replication: string | null
}

/** A person's part in a group; it goes with the account and with the group. */
export interface GroupMembersTable {
  domain: string
  name: string
  user: string
  /** Place in the order of ringing. */
  position: number
  member: number
  moderator: number
}

/** One recording of a meeting: `people` are the AORs that may hear it; both lists are JSON. */
export interface RecordingsTable {
  id: string
  meeting: string
  address: string
  started: string
  ended: string
  seconds: number
  people: string
  files: string
  /** The node of a cluster that has the files; '' for this one, by itself. */
  node: string
}

/** Messages that nobody has yet; `owner` is the life that is sending it, '' for none. */
export interface MessagesTable {
  user: string
  id: string
  owner: string
  kept: number
  ends: number
  /** JSON. */
  message: string
}

/** Requests that were here in the last minutes, with the answer; 0 for none yet. */
export interface MessagesSaidTable {
  user: string
  key: string
  at: number
  cseq: number
  status: number
}

export interface Tables {
  accounts: AccountsTable
  invitations: InvitationsTable
  calls: CallsTable
  groups: GroupsTable
  group_members: GroupMembersTable
  recordings: RecordingsTable
  sharing: SharingTable
  shared_rows: SharedRowsTable
  messages: MessagesTable
  messages_said: MessagesSaidTable
}

const steps = [
  `create table accounts (
     domain text not null, user text not null, display_name text not null, enabled integer not null,
     roles text not null, created text not null, md5_seen integer not null,
     ha1_sha256 text not null, ha1_md5 text not null, ha1b_sha256 text not null, ha1b_md5 text not null,
     primary key (domain, user)) without rowid;
   create table calls (
     id text primary key, from_aor text not null, to_aor text not null, started text not null, answered text,
     ended text not null, seconds real not null, result text not null, status integer not null,
     reason text not null, legs text not null) without rowid;
   create index calls_started on calls (started);
   create index calls_from on calls (from_aor, started);
   create index calls_to on calls (to_aor, started);`,
  // A name is an account or a group, never both: the triggers hold it also when two processes write at once.
  `create table groups (
     domain text not null, name text not null, display_name text not null, ring text not null,
     record integer not null, announce integer not null, pin text, most integer, created text not null,
     primary key (domain, name)) without rowid;
   create table group_members (
     domain text not null, name text not null, user text not null, position integer not null,
     member integer not null, moderator integer not null, primary key (domain, name, user),
     foreign key (domain, name) references groups (domain, name) on delete cascade,
     foreign key (domain, user) references accounts (domain, user) on delete cascade) without rowid;
   create index group_members_user on group_members (domain, user);
   create trigger groups_name before insert on groups
     when exists (select 1 from accounts where domain = new.domain and user = new.name)
     begin select raise(abort, 'there is already an account of that name'); end;
   create trigger accounts_name before insert on accounts
     when exists (select 1 from groups where domain = new.domain and name = new.user)
     begin select raise(abort, 'there is already a group of that name'); end;
   create table recordings (
     id text primary key, meeting text not null, address text not null, started text not null, ended text not null,
     seconds real not null, people text not null, files text not null) without rowid;
   create index recordings_started on recordings (started);`,
  `create table invitations (
     token text primary key, domain text not null, user text not null, ends text not null,
     foreign key (domain, user) references accounts (domain, user) on delete cascade) without rowid;`,
  sharingSchema,
  changesSchema,
  'alter table groups add column replication text',
  `create table messages (
     user text not null, id text not null, owner text not null, kept integer not null, ends integer not null,
     message text not null, primary key (user, id)) without rowid;
   create table messages_said (
     user text not null, key text not null, at integer not null, cseq integer not null, status integer not null,
     primary key (user, key)) without rowid;
   create index messages_said_at on messages_said (user, at);`,
]

/**
 * Brings the schema up to the newest version and returns that. Refuses (`bad-config`) a file that a newer release has
 * written. The write lock is taken first, so two processes that start at once do not both do it.
 */
export function migrate(connection: DatabaseSync, file: string): number {
  connection.exec('begin immediate')
  try {
    connection.exec('create table if not exists migrations (version integer primary key, applied text not null)')
    const row = connection.prepare('select coalesce(max(version), 0) as version from migrations').get()
    const version = Number(row?.version)
    if (version > steps.length) {
      throw new Refusal(
        'bad-config',
        `${file} was written by a newer release (schema ${version}, this one knows ${steps.length}): update Vaartha`,
      )
    }
    const note = connection.prepare('insert into migrations (version, applied) values (?, ?)')
    steps.slice(version).forEach((step, index) => {
      connection.exec(step)
      note.run(version + index + 1, new Date().toISOString())
    })
    connection.exec('commit')
  } catch (error) {
    if (connection.isTransaction) connection.exec('rollback')
    throw error
  }
  return steps.length
}
