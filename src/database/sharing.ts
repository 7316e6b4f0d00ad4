// How the database notes what other nodes of a cluster must hear. Triggers do it, so that whoever writes, the command
// line included, need not think of it, and a crash forgets nothing. They rest until `sharing` has its one row.

const note = (event: string, kind: string, id: string, name: string) => `
   create trigger sharing_${name} ${event}
     when (select muted = 0 from sharing)
     begin
       update sharing set stamp = max(stamp + 1, cast(unixepoch('subsec') * 1000000 as integer));
       insert into shared_rows (kind, id, stamp, node, gone, base, waiting, partial)
         select '${kind}', ${id}, stamp, node, 0, 0, 1, 0 from sharing where true
         on conflict (kind, id) do update set stamp = excluded.stamp, node = excluded.node, waiting = 1, partial = 0;
     end;`

// Whether a phone has used MD5 is for each node to see: it must not carry an old password over a new one.
const accountColumns = 'display_name, enabled, roles, ha1_sha256, ha1_md5, ha1b_sha256, ha1b_md5'
const account = (row: string) => `${row}.user || '@' || ${row}.domain`
const group = (row: string) => `${row}.name || '@' || ${row}.domain`

const count = (event: string, table: string) =>
  `
   create trigger count_${table}_${event.slice(0, 6)} after ${event} on ${table}
     begin update changes set count = count + 1; end;`

/**
 * Counts changes of accounts and groups, which are cached: of all that others write to the file they are little. A step
 * of the migrations.
 */
export const changesSchema = `
   create table changes (count integer not null);
   insert into changes (count) values (0);
   ${[
     count('insert', 'accounts'),
     count(`update of ${accountColumns}`, 'accounts'),
     count('delete', 'accounts'),
     count('insert', 'groups'),
     count('update', 'groups'),
     count('delete', 'groups'),
   ].join('')}`

/** Tables and triggers of that; a step of the migrations. */
export const sharingSchema = `
   create table sharing (
     one integer primary key check (one = 1), node text not null, stamp integer not null, muted integer not null,
     epoch text not null, synced integer not null);
   create table shared_rows (
     kind text not null, id text not null, stamp integer not null, node text not null, gone integer not null,
     base integer not null, waiting integer not null, partial integer not null,
     primary key (kind, id)) without rowid;
   create index shared_rows_waiting on shared_rows (stamp) where waiting = 1;
   alter table recordings add column node text not null default '';
   create trigger recordings_node after insert on recordings when new.node = '' and exists (select 1 from sharing)
     begin update recordings set node = (select node from sharing) where id = new.id; end;
   ${[
     note('after insert on accounts', 'account', account('new'), 'account_made'),
     note(`after update of ${accountColumns} on accounts`, 'account', account('new'), 'account_changed'),
     note('after delete on accounts', 'account', account('old'), 'account_removed'),
     note('after insert on groups', 'group', group('new'), 'group_made'),
     note('after update on groups', 'group', group('new'), 'group_changed'),
     note('after delete on groups', 'group', group('old'), 'group_removed'),
     note('after insert on group_members', 'group', group('new'), 'member_made'),
     note('after update on group_members', 'group', group('new'), 'member_changed'),
     note('after delete on group_members', 'group', group('old'), 'member_removed'),
     note('after insert on invitations', 'invitation', 'new.token', 'invitation_made'),
     note('after delete on invitations', 'invitation', 'old.token', 'invitation_used'),
     note('after insert on recordings', 'recording', 'new.id', 'recording_made'),
     note('after delete on recordings', 'recording', 'old.id', 'recording_removed'),
     note('after insert on calls', 'call', 'new.id', 'call_made'),
   ].join('')}`

/** The one row of a database whose rows are shared with other nodes. */
export interface SharingTable {
  one: 1
  /** This node's name. */
  node: string
  /** The newest stamp seen: microseconds since 1970 that never go back, a hybrid logical clock. */
  stamp: number
  /** 1 while rows of other nodes are written, which are no changes of ours. */
  muted: number
  /** Which life of the shared store this database was compared with last, and when, in ms since 1970. */
  epoch: string
  synced: number
}

/** The version of one shared row, kept also when the row is gone; of calls only until they are told. */
export interface SharedRowsTable {
  kind: string
  /** `user@domain`, `group@domain`, or the row's own id. */
  id: string
  stamp: number
  /** The node that made this version. */
  node: string
  gone: number
  /** The stamp of the version that this one came after, as far as it was shared. */
  base: number
  /** 1 until the others have been told. */
  waiting: number
  /** 1 for a group some of whose members are not known here. */
  partial: number
}
