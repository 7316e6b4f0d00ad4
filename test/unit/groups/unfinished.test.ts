import assert from 'node:assert/strict'
import { appendFileSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { openDatabase } from '../../../src/database/database.ts'
import { createRecordings } from '../../../src/groups/recorder.ts'
import { closeUnfinished } from '../../../src/groups/unfinished.ts'
import { createSilentLog } from '../../../src/log.ts'
import { createOggOpus } from '../../../src/media/mix/ogg.ts'

const log = createSilentLog()
const silence = Uint8Array.of(0xf8, 0xff, 0xfe)

/** A file as its writer leaves it when it is killed: whole pages, and the beginning of another one. */
function write(file: string, seconds: number, tags: string[], torn = 0): number {
  const ogg = createOggOpus(1, tags)
  const pages: Uint8Array[] = [ogg.head()]
  for (let at = 0; at <= 50 * seconds; at++) {
    const page = ogg.add(silence, 960)
    if (page) pages.push(page)
  }
  writeFileSync(file, Buffer.concat(pages))
  const { size } = statSync(file)
  appendFileSync(file, pages.at(-1)!.subarray(0, torn))
  return size
}

test('what a killed node has recorded is closed at its last page and listed; what was ended is left alone', async t => {
  const directory = mkdtempSync(join(tmpdir(), 'vaartha-unfinished-'))
  const database = await openDatabase(join(directory, 'db.sqlite'), log)
  t.after(async () => {
    await database.close()
    rmSync(directory, { recursive: true })
  })
  const files = { made: 0 }
  const media = {
    async record(_room: string, { name = '' }: { name?: string }) {
      files.made++
      const file = join(directory, `${name}.opus`)
      const bytes = write(file, 3, ['TITLE=x'], 20)
      write(join(directory, `${name}-sip_dad.opus`), 2, ['TITLE=x', 'ARTIST=dad'])
      writeFileSync(join(directory, `${name}-empty.opus`), 'OggS')
      return async () => [{ file, speaker: '', seconds: 3, bytes }]
    },
  }
  const now = () => Date.parse('2026-11-21T10:00:00Z')
  const before = createRecordings({ database, media, directory, now })
  const people = new Set(['sip:mum@v.example', 'sip:dad@v.example'])
  const wish = { room: 'r', meeting: 'm1', address: 'sip:family@v.example', people }
  const ended = await before.begin(wish)
  await ended.stop()
  await before.begin({ ...wish, meeting: 'm2' })
  assert.equal(readdirSync(directory).filter(name => name.endsWith('.begun')).length, 1)
  assert.equal((await before.list()).length, 1)

  assert.equal(await closeUnfinished({ database, directory, log }), 1)
  const after = createRecordings({ database, media, directory, now })
  const left = (await after.list()).find(({ meeting }) => meeting === 'm2')
  assert.ok(left)
  assert.deepEqual(left.people, [...people])
  assert.equal(left.started, '2026-11-21T10:00:00.000Z')
  assert.equal(left.ended, '2026-11-21T10:00:03.000Z')
  assert.equal(left.seconds, 3)
  assert.deepEqual(
    left.files.map(({ speaker, seconds }) => [speaker, seconds]),
    [
      ['', 3],
      ['dad', 2],
    ],
  )
  for (const { file, bytes } of left.files) assert.equal(statSync(join(directory, file)).size, bytes)
  assert.equal(readFileSync(after.path(left.files[0]!.file)).toString('latin1', 0, 4), 'OggS')
  assert.equal(await closeUnfinished({ database, directory, log }), 0)
  assert.equal((await after.list()).length, 2)
})

test('a note that makes no sense is told of and keeps nobody from starting', async t => {
  const directory = mkdtempSync(join(tmpdir(), 'vaartha-unfinished-'))
  const database = await openDatabase(join(directory, 'db.sqlite'), log)
  t.after(async () => {
    await database.close()
    rmSync(directory, { recursive: true })
  })
  writeFileSync(join(directory, 'x.begun'), '{')
  assert.equal(await closeUnfinished({ database, directory, log }), 0)
  assert.equal(await closeUnfinished({ database, directory: join(directory, 'none'), log }), 0)
})
