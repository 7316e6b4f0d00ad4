import { randomBytes } from 'node:crypto'
import { type FileHandle, open } from 'node:fs/promises'
import { join } from 'node:path'
import type { FrameEncoder } from './frame-encoder.ts'
import type { RecordedFile } from './mix.ts'
import { createOggOpus } from './ogg.ts'

// Recordings of one meeting: a file of the mix and, if wished, one per speaker, all beginning at the same moment. The
// mix never waits for the disk: pages queue up, and a disk that fails or falls behind ends the recording.

export interface Recording {
  /** The next 20 ms of everybody. Undefined while nobody speaks. */
  mix(pcm: Int16Array | undefined): void
  /** The next 20 ms of one speaker, before `mix` of the same tick. */
  voice(id: string, pcm: Int16Array): void
  rename(id: string, name: string): void
  /** Writes what is left and gives what was written; idempotent. */
  stop(): Promise<RecordedFile[]>
}

export interface RecordingOptions {
  directory: string
  name: string
  perSpeaker: boolean
  encoder: () => FrameEncoder
  nameOf: (id: string) => string
  onFailure: (why: string) => void
}

/** 20 ms of Ogg's clock for Opus, 48 kHz. */
const FRAME = 960
/** An Opus frame of 20 ms of silence (RFC 6716: CELT, full band, the silence flag set). */
const SILENCE = Uint8Array.of(0xf8, 0xff, 0xfe)
/** Seconds of audio are some 4 kB each: this is minutes that the disk is behind. */
const MOST_BEHIND = 1 << 20

interface Track {
  speaker: string
  /** Ticks written. */
  ticks: number
  encoder: FrameEncoder
  ogg: ReturnType<typeof createOggOpus>
  file: Writer
}

/** Begins a recording; a speaker's file is made when it speaks for the first time. */
export function createRecording(options: RecordingOptions): Recording {
  const tracks = new Map<string, Track>()
  const names = new Set<string>()
  let ticks = 0
  let failed = false
  let stopping: Promise<RecordedFile[]> | undefined

  function fail(why: string): void {
    if (failed || stopping) return
    failed = true
    options.onFailure(why)
  }

  function track(id: string, speaker: string): Track {
    const kept = tracks.get(id)
    if (kept) return kept
    const file = createWriter(join(options.directory, fileName(speaker)), fail)
    const tags = [`TITLE=${options.name}`, ...(speaker ? [`ARTIST=${speaker}`] : [])]
    const ogg = createOggOpus(randomBytes(4).readUInt32LE(), tags)
    const made = { speaker, ticks: 0, encoder: options.encoder(), ogg, file }
    file.write(ogg.head())
    tracks.set(id, made)
    return made
  }

  /** Two speakers may have one name. */
  function fileName(speaker: string): string {
    const base = speaker ? `${plain(options.name)}-${plain(speaker)}` : plain(options.name)
    let name = base
    for (let n = 2; names.has(name); n++) name = `${base}-${n}`
    names.add(name)
    return `${name}.opus`
  }

  function add(to: Track, packet: Uint8Array): void {
    const page = to.ogg.add(packet, FRAME)
    if (page) to.file.write(page)
    to.ticks++
  }

  /** Everybody's file has come as far as the meeting. */
  function catchUp(to: Track, until: number): void {
    while (to.ticks < until) add(to, SILENCE)
  }

  const active = () => !failed && !stopping
  const all = track('', '')

  return {
    mix(pcm) {
      if (!active()) return
      add(all, (pcm && all.encoder.encode(pcm)) ?? SILENCE)
      ticks++
      // Silence of many ticks is written at once when a second of it has gone by.
      if (ticks % 50 === 0) for (const one of tracks.values()) catchUp(one, ticks)
    },
    voice(id, pcm) {
      if (!active() || !options.perSpeaker) return
      const one = track(`:${id}`, options.nameOf(id))
      catchUp(one, ticks)
      add(one, one.encoder.encode(pcm) ?? SILENCE)
    },
    rename(id, name) {
      const one = tracks.get(`:${id}`)
      if (one) one.speaker = name
    },
    stop() {
      stopping ??= finish([...tracks.values()], ticks)
      return stopping
    },
  }

  async function finish(list: Track[], until: number): Promise<RecordedFile[]> {
    for (const one of list) {
      catchUp(one, until)
      one.encoder.free()
      one.file.write(one.ogg.end())
    }
    const files = await Promise.all(list.map(one => one.file.end()))
    const told = list.map((one, i) => ({ ...files[i]!, speaker: one.speaker, seconds: one.ogg.seconds }))
    return told.filter(file => file.bytes > 0)
  }
}

/** What a file name may hold on any system. */
function plain(text: string): string {
  const kept = text.replace(/[^\p{L}\p{N}._@+-]/gu, '_').slice(0, 80)
  return kept.replace(/^\.+/, '_') || '_'
}

interface Writer {
  write(bytes: Uint8Array): void
  end(): Promise<{ file: string; bytes: number }>
}

/** Writes one after the other in the background; the first failure is told and everything after it dropped. */
function createWriter(file: string, onFailure: (why: string) => void): Writer {
  let handle: FileHandle | undefined
  let [bytes, behind] = [0, 0]
  let failed = false
  // Recordings are private: nobody but the server's own user reads them.
  let work: Promise<void> = run(async () => {
    handle = await open(file, 'wx', 0o600)
  })

  async function run(step: () => Promise<void>): Promise<void> {
    if (failed) return
    try {
      await step()
    } catch (error) {
      failed = true
      onFailure(error instanceof Error ? error.message : String(error))
    }
  }

  return {
    write(page) {
      if (behind > MOST_BEHIND) {
        failed = true
        onFailure(`${file}: the disk is too slow`)
        return
      }
      behind += page.length
      work = work.then(() =>
        run(async () => {
          await handle!.writeFile(page)
          bytes += page.length
        }).finally(() => {
          behind -= page.length
        }),
      )
    },
    async end() {
      await work
      await handle?.close()
      handle = undefined
      return { file, bytes }
    },
  }
}
