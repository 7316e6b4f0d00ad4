import { createStore, type Store } from './store.ts'

// Microphones, loudspeakers and cameras, and which of them the person has chosen.

export type Kind = 'audioinput' | 'audiooutput' | 'videoinput'

export interface DeviceState {
  list: readonly { kind: Kind; id: string; label: string }[]
  chosen: Readonly<Record<Kind, string>>
}

export interface Devices {
  readonly state: Store<DeviceState>
  /** True where the browser gives microphones to this page at all: HTTPS, or this very machine. */
  readonly possible: boolean
  microphone(): Promise<MediaStream>
  camera(): Promise<MediaStream>
  /** Plays a stream on the chosen loudspeaker until the returned function is called. */
  play(stream: MediaStream): { element: HTMLAudioElement; stop(): void }
  choose(kind: Kind, id: string): void
  /** Told when another device is chosen. */
  onChosen(listener: (kind: Kind) => void): () => void
  refresh(): Promise<void>
}

const key = 'vaartha.devices'
const cameraSize = { width: { ideal: 1280 }, height: { ideal: 720 }, frameRate: { ideal: 25, max: 30 } }

export function createDevices(): Devices {
  const media: MediaDevices | undefined = navigator.mediaDevices
  const chosen: Record<Kind, string> = { audioinput: '', audiooutput: '', videoinput: '', ...readChosen() }
  const state = createStore<DeviceState>({ list: [], chosen })
  const playing = new Set<HTMLAudioElement>()
  const listeners = new Set<(kind: Kind) => void>()

  async function refresh(): Promise<void> {
    const all = (await media?.enumerateDevices()) ?? []
    state.set({ list: all.map(({ kind, deviceId, label }) => ({ kind: kind as Kind, id: deviceId, label })) })
  }
  media?.addEventListener('devicechange', () => void refresh())

  const wish = (kind: Kind) => {
    const { chosen, list } = state.get()
    // A device that has been pulled out is no reason to have none.
    return chosen[kind] !== '' && list.some(one => one.id === chosen[kind]) ? { deviceId: { ideal: chosen[kind] } } : {}
  }

  async function open(constraints: MediaStreamConstraints): Promise<MediaStream> {
    if (media === undefined) throw new DOMException('this page is not trusted', 'NotAllowedError')
    const stream = await media.getUserMedia(constraints)
    // Names are told only after somebody has allowed a device.
    if (state.get().list.every(one => one.label === '')) void refresh()
    return stream
  }

  async function direct(element: HTMLAudioElement): Promise<void> {
    if (!('setSinkId' in element)) return
    try {
      await element.setSinkId(state.get().chosen.audiooutput)
    } catch {
      // That loudspeaker is gone: the default one plays, as it does already.
    }
  }

  return {
    state,
    possible: media !== undefined && window.isSecureContext,
    microphone: () =>
      open({ audio: { ...wish('audioinput'), echoCancellation: true, noiseSuppression: true, autoGainControl: true } }),
    camera: () => open({ video: { ...wish('videoinput'), ...cameraSize } }),
    play(stream) {
      const element = document.createElement('audio')
      element.autoplay = true
      element.srcObject = stream
      document.body.append(element)
      playing.add(element)
      void direct(element)
      return {
        element,
        stop() {
          playing.delete(element)
          element.srcObject = null
          element.remove()
        },
      }
    },
    choose(kind, id) {
      state.set({ chosen: { ...state.get().chosen, [kind]: id } })
      localStorage.setItem(key, JSON.stringify(state.get().chosen))
      if (kind === 'audiooutput') for (const element of playing) void direct(element)
      for (const listener of listeners) listener(kind)
    },
    onChosen(listener) {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
    refresh,
  }
}

function readChosen(): Partial<Record<Kind, string>> {
  try {
    return JSON.parse(localStorage.getItem(key) ?? '{}') as Partial<Record<Kind, string>>
  } catch {
    // Unreadable: as if nothing had been chosen.
    return {}
  }
}

/** Calls `tell` with a stream's loudness, 0..1 as an eye reads it, some times a second until the returned function is called. */
export function meter(stream: MediaStream, tell: (level: number) => void): () => void {
  const audio = new AudioContext()
  const analyser = new AnalyserNode(audio, { fftSize: 1024 })
  audio.createMediaStreamSource(stream).connect(analyser)
  const wave = new Float32Array(analyser.fftSize)
  const timer = setInterval(() => {
    analyser.getFloatTimeDomainData(wave)
    const power = wave.reduce((sum, x) => sum + x * x, 0) / wave.length
    const decibels = 10 * Math.log10(power + 1e-9)
    tell(Math.min(1, Math.max(0, (decibels + 60) / 55)))
  }, 80)
  return () => {
    clearInterval(timer)
    void audio.close()
  }
}
