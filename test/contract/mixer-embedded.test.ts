import { after, describe } from 'node:test'
import { createSilentLog } from '../../src/log.ts'
import type { AudioEvent } from '../../src/media/audio/audio.ts'
import { createAudioEngine } from '../../src/media/audio/engine.ts'
import { createEmbeddedMixer } from '../../src/media/mixer-embedded.ts'
import { mixerContract } from './mixer.contract.ts'

describe('mixer in the audio thread', () => {
  const config = { rtpPorts: '37000-37499', trunkPorts: '37500-37999' }
  const audio = createAudioEngine({ config, log: createSilentLog() })
  const events: AudioEvent[] = []
  audio.on(event => events.push(event))
  after(() => audio.close())
  const mixer = createEmbeddedMixer(audio)
  mixerContract(() => ({ audio, mixer, events, left: () => [] }))
})
