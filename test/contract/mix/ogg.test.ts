import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { type Codecs, loadCodecs } from '../../../src/media/codec/codec.ts'
import { createOggOpus } from '../../../src/media/mix/ogg.ts'
import { createRecording, type Recording } from '../../../src/media/mix/recording.ts'
import { levelOf, type Sound, shareOf, soundOf, tonePcm } from '../../support/tone.ts'

interface Page {
  flags: number
  granule: number
  sequence: number
  packets: number
}

/** Cuts a file into pages and recomputes each checksum the slow way; the last page of one that is `growing` may be a part. */
function pagesOf(bytes: Buffer, growing = false): Page[] {
  const pages: Page[] = []
  for (let at = 0; at < bytes.length; ) {
    if (growing && at + 27 > bytes.length) break
    assert.equal(bytes.toString('latin1', at, at + 4), 'OggS')
    const lacing = bytes.subarray(at + 27, at + 27 + bytes[at + 26]!)
    const size = 27 + lacing.length + lacing.reduce((sum, length) => sum + length, 0)
    if (growing && at + size > bytes.length) break
    const page = Buffer.from(bytes.subarray(at, at + size))
    const told = page.readUInt32LE(22)
    page.writeUInt32LE(0, 22)
    let crc = 0
    for (const byte of page) {
      crc ^= byte << 24
      for (let bit = 0; bit < 8; bit++) crc = crc < 0 ? (crc << 1) ^ 0x04c11db7 : crc << 1
    }
    assert.equal(told, crc >>> 0)
    pages.push({
      flags: page[5]!,
      granule: Number(page.readBigUInt64LE(6)),
      sequence: page.readUInt32LE(18),
      packets: lacing.filter(length => length < 255).length,
    })
    at += size
  }
  return pages
}

const hasFfmpeg = spawnSync('ffmpeg', ['-version']).status === 0
const without = hasFfmpeg ? false : 'ATTENTION: no ffmpeg here, so recordings are NOT opened by a foreign program'

function heard(file: string): Sound {
  const run = spawnSync('ffmpeg', ['-v', 'warning', '-i', file, '-f', 's16le', '-ar', '16000', 'pipe:1'], {
    maxBuffer: 1 << 26,
  })
  assert.equal(run.stderr.toString(), '')
  const pcm = new Int16Array(run.stdout.buffer, run.stdout.byteOffset, run.stdout.length / 2)
  return soundOf(16_000, pcm)
}

describe('Ogg Opus', () => {
  it('writes whole pages of a second, in order, with sums that hold', () => {
    const ogg = createOggOpus(42, ['TITLE=Family'])
    const parts = [ogg.head()]
    for (let i = 0; i < 130; i++) parts.push(ogg.add(Uint8Array.of(0xf8, 0xff, 0xfe), 960) ?? new Uint8Array())
    parts.push(ogg.end())
    const pages = pagesOf(Buffer.concat(parts))
    assert.deepEqual(
      pages.map(page => page.sequence),
      [0, 1, 2, 3, 4],
    )
    assert.deepEqual(
      pages.map(page => page.flags),
      [2, 0, 0, 0, 4],
    )
    assert.deepEqual(
      pages.map(page => page.granule),
      [0, 0, 48_000, 96_000, 124_800],
    )
    assert.deepEqual(
      pages.map(page => page.packets),
      [1, 1, 50, 50, 30],
    )
  })

  it('laces packets of any length, and ends a page before it overflows', () => {
    const ogg = createOggOpus(1, [])
    const parts = [ogg.head()]
    for (const length of [0, 254, 255, 256, 510, 1275, ...Array.from({ length: 60 }, () => 1275)])
      parts.push(ogg.add(new Uint8Array(length), 960) ?? new Uint8Array())
    parts.push(ogg.end())
    const pages = pagesOf(Buffer.concat(parts))
    assert.equal(
      pages.slice(2).reduce((sum, page) => sum + page.packets, 0),
      66,
    )
  })
})

describe('recording', () => {
  let codecs: Codecs
  let directory: string
  const failures: string[] = []
  before(async () => {
    codecs = await loadCodecs()
    directory = mkdtempSync(join(tmpdir(), 'vaartha-recording-'))
  })
  after(() => {
    codecs.free()
    rmSync(directory, { recursive: true })
  })

  const begin = (name: string, where = directory): Recording =>
    createRecording({
      ...{ directory: where, name, perSpeaker: true },
      encoder: () => codecs.encoder('opus', 16_000),
      nameOf: id => ({ a: 'Asha Rao', b: '../../etc/Ravi', c: 'Asha Rao' })[id] ?? id,
      onFailure: why => failures.push(why),
    })
  const frame = (frequency: number, i: number) => tonePcm(16_000, frequency, 320, i * 320)

  it('lines up the mix and every speaker, and foreign programs play it', { skip: without }, async () => {
    const recording = begin('family')
    for (let i = 0; i < 200; i++) {
      const [a, b] = [i < 100, i >= 125 && i < 175]
      if (a) recording.voice('a', frame(500, i))
      if (b) recording.voice('b', frame(900, i))
      recording.mix(a ? frame(500, i) : b ? frame(900, i) : undefined)
      if (i % 50 === 0) await new Promise(resolve => setImmediate(resolve))
    }
    const files = await recording.stop()
    assert.deepEqual(
      files.map(file => file.speaker),
      ['', 'Asha Rao', '../../etc/Ravi'],
    )
    assert.deepEqual(
      readdirSync(directory).sort(),
      ['family-__.._etc_Ravi.opus', 'family-Asha_Rao.opus', 'family.opus'].sort(),
    )
    for (const { file, seconds, bytes } of files) {
      assert.ok(Math.abs(seconds - 4) < 0.02)
      assert.equal(statSync(file).size, bytes)
      assert.equal(statSync(file).mode & 0o777, 0o600)
      pagesOf(readFileSync(file))
      assert.ok(Math.abs(heard(file).samples.length / 16_000 - 4) < 0.02)
    }
    const [mix, a, b] = files.map(file => heard(file.file))
    const during = (sound: Sound, from: number, to: number) => [from * sound.rate, to * sound.rate] as const
    for (const sound of [mix!, a!]) assert.ok(shareOf(sound, 500, ...during(sound, 0.3, 1.9)) > 0.95)
    for (const sound of [mix!, b!]) assert.ok(shareOf(sound, 900, ...during(sound, 2.7, 3.4)) > 0.95)
    assert.ok(levelOf(a!, ...during(a!, 2.2, 3.9)) < -60)
    assert.ok(levelOf(b!, ...during(b!, 0, 2.4)) < -60)
    assert.deepEqual(await recording.stop(), files)
  })

  it('gives two speakers of one name two files', async () => {
    const recording = begin('twins')
    recording.voice('a', frame(500, 0))
    recording.voice('c', frame(500, 0))
    recording.mix(frame(500, 0))
    const files = await recording.stop()
    assert.equal(new Set(files.map(file => file.file)).size, 3)
  })

  it('has all but the last second on disk when it is killed', async () => {
    const recording = begin('killed')
    for (let i = 0; i < 151; i++) recording.mix(frame(700, i))
    const file = join(directory, 'killed.opus')
    const written = () => pagesOf(readFileSync(file), true).reduce((sum, page) => Math.max(sum, page.granule), 0)
    // The disk may be busy with others' work.
    for (const until = Date.now() + 10_000; Date.now() < until; ) {
      await new Promise(resolve => setImmediate(resolve))
      if (statSync(file, { throwIfNoEntry: false })?.size && written() >= 144_000) break
    }
    assert.equal(written(), 144_000)
    await recording.stop()
  })

  it('ends with a fact when the disk fails, once, and takes what comes after', async () => {
    const recording = begin('nowhere', join(directory, 'missing'))
    for (let i = 0; i < 200; i++) {
      recording.mix(frame(500, i))
      recording.voice('a', frame(500, i))
      if (i % 20 === 0) await new Promise(resolve => setImmediate(resolve))
    }
    assert.deepEqual(await recording.stop(), [])
    assert.equal(failures.length, 1)
    assert.match(failures[0]!, /ENOENT/)
  })
})
