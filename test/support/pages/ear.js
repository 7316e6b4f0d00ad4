// Runs in a page before its own scripts: gives it a microphone that plays one tone, and listens to what the page plays.
// The page knows nothing of it. Tones are multiples of 50 Hz, which windows of 20 ms tell apart without leaking.
;(() => {
  const tone = window.__tone ?? 0
  const AudioCtx = window.AudioContext
  let context
  let detector
  const seen = new Map()
  const ready = () => (context ??= start())

  async function start() {
    const audio = new AudioCtx({ sampleRate: 48000 })
    const code = `registerProcessor('ear', class extends AudioWorkletProcessor {
      constructor() {
        super()
        this.buffer = new Float32Array(960); this.filled = 0; this.now = 0; this.tones = []
        this.port.onmessage = ({ data }) => {
          if (data.watch) this.tones = data.watch.map(hz => ({ hz, last: undefined, began: this.now, longest: 0, heard: 0, level: 0 }))
          if (data.ask) this.port.postMessage({ ask: data.ask, now: this.now, tones: this.tones.map(t => ({ ...t })) })
        }
      }
      process([input]) {
        const channel = input[0]
        for (let from = 0; from < 128; ) {
          const n = Math.min(128 - from, 960 - this.filled)
          if (channel) this.buffer.set(channel.subarray(from, from + n), this.filled)
          else this.buffer.fill(0, this.filled, this.filled + n)
          from += n
          this.filled += n
          if (this.filled === 960) { this.filled = 0; this.now += 20; this.window() }
        }
        return true
      }
      window() {
        for (const t of this.tones) {
          const c = 2 * Math.cos(2 * Math.PI * t.hz / 48000)
          let s1 = 0, s2 = 0
          for (let i = 0; i < 960; i++) { const s0 = this.buffer[i] + c * s1 - s2; s2 = s1; s1 = s0 }
          t.level = 2 * Math.sqrt(Math.max(0, s1 * s1 + s2 * s2 - c * s1 * s2)) / 960
          if (t.level > 0.012) { t.heard += 20; t.last = this.now }
          else if (t.last !== undefined) t.longest = Math.max(t.longest, this.now - t.last)
        }
      }
    })`
    await audio.audioWorklet.addModule(URL.createObjectURL(new Blob([code], { type: 'text/javascript' })))
    detector = new AudioWorkletNode(audio, 'ear', { numberOfOutputs: 1, channelCount: 1, channelCountMode: 'explicit' })
    const silent = new GainNode(audio, { gain: 0 })
    detector.connect(silent).connect(audio.destination)
    await audio.resume()
    return audio
  }

  async function microphone() {
    const audio = await ready()
    const stream = audio.createMediaStreamDestination()
    const oscillator = new OscillatorNode(audio, { frequency: tone || 400 })
    const gain = new GainNode(audio, { gain: tone ? 0.25 : 0 })
    oscillator.connect(gain).connect(stream)
    oscillator.start()
    window.__talk = on => (gain.gain.value = on ? 0.25 : 0)
    return stream.stream
  }

  const realMedia = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices)
  navigator.mediaDevices.getUserMedia = async wish => {
    const stream = new MediaStream()
    if (wish?.audio) for (const track of (await microphone()).getAudioTracks()) stream.addTrack(track)
    if (wish?.video) for (const track of (await realMedia({ video: wish.video })).getVideoTracks()) stream.addTrack(track)
    return stream
  }

  // What an element plays is what a person hears: its stream's audio, unless it is muted or paused.
  const property = Object.getOwnPropertyDescriptor(HTMLMediaElement.prototype, 'srcObject')
  Object.defineProperty(HTMLMediaElement.prototype, 'srcObject', {
    ...property,
    set(stream) {
      property.set.call(this, stream)
      void tap(this, stream)
    },
  })

  async function tap(element, stream) {
    const audio = await ready()
    let at = seen.get(element)
    if (at === undefined) {
      at = { gain: new GainNode(audio), sources: [] }
      at.gain.connect(detector)
      seen.set(element, at)
      const follow = () => (at.gain.gain.value = element.muted || element.paused ? 0 : element.volume)
      for (const event of ['volumechange', 'pause', 'play', 'playing', 'emptied']) element.addEventListener(event, follow)
      follow()
    }
    for (const source of at.sources) source.disconnect()
    at.sources = []
    if (!(stream instanceof MediaStream)) return
    const add = track => {
      if (track.kind !== 'audio') return
      const source = audio.createMediaStreamSource(new MediaStream([track]))
      source.connect(at.gain)
      at.sources.push(source)
    }
    for (const track of stream.getAudioTracks()) add(track)
    stream.addEventListener('addtrack', ({ track }) => add(track))
  }

  // Peer connections are kept in sight for their statistics.
  const Peer = window.RTCPeerConnection
  const peers = (window.__peers = [])
  window.RTCPeerConnection = class extends Peer {
    constructor(...args) {
      super(...args)
      peers.push(this)
    }
  }

  window.__ear = {
    async watch(tones) {
      await ready()
      detector.port.postMessage({ watch: tones })
    },
    async ask() {
      await ready()
      const id = Math.random()
      return new Promise(done => {
        const on = ({ data }) => {
          if (data.ask !== id) return
          detector.port.removeEventListener('message', on)
          done({ now: data.now, tones: data.tones })
        }
        detector.port.addEventListener('message', on)
        detector.port.start()
        detector.port.postMessage({ ask: id })
      })
    },
  }
})()
