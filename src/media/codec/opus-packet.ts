// What an Opus packet says of itself before it is decoded (RFC 6716 section 3.1 and 4.2.3).

/** Length of a frame in units of 1/48000 s by the configuration number, the upper five bits of the first byte. */
function frameSamples(config: number): number {
  if (config < 12) return [480, 960, 1920, 2880][config & 3]!
  if (config < 16) return config & 1 ? 960 : 480
  return 120 << (config & 3)
}

/** Frames in a packet; 0 when it is none. */
function framesOf(payload: Uint8Array): number {
  if (payload.length === 0) return 0
  const code = payload[0]! & 3
  if (code === 0) return 1
  if (code < 3) return 2
  return payload.length < 2 ? 0 : payload[1]! & 63
}

/** Length of a packet in units of the RTP clock of Opus, 48 kHz; 0 when it is no Opus packet. */
export function opusSamples(payload: Uint8Array): number {
  const samples = framesOf(payload) * frameSamples((payload[0] ?? 0) >> 3)
  return samples > 5760 ? 0 : samples
}

/**
 * Whether the encoder has heard a voice in this packet. `unknown` where the packet does not say, which is when it holds
 * no SILK layer. SILK's voice flags are its first bits, each as likely as not, so that the range coder leaves them as
 * they are: they can be read without decoding.
 */
export function opusVoice(payload: Uint8Array): 'voice' | 'none' | 'unknown' {
  if (payload.length < 2) return 'none'
  const config = payload[0]! >> 3
  if (config >= 16) return 'unknown'
  const code = payload[0]! & 3
  // Only a packet of one frame has its first frame at a fixed place; phones send no others.
  if (code !== 0) return 'unknown'
  const silkFrames = config < 12 ? [1, 1, 2, 3][config & 3]! : 1
  return payload[1]! >> (8 - silkFrames) ? 'voice' : 'none'
}
