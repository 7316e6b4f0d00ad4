// A mediasoup consumer passes on nothing but codecs for sound and pictures: telephone-event (RFC 4733) and comfort noise are
// dropped as something that only complements them. Nobody looks into audio packets, though, so the worker is told that
// telephone-event is a codec that we do not speak. Descriptions and the audio thread know the truth.

const disguises: Record<number, { mimeType: string; clockRate: number }> = {
  48000: { mimeType: 'audio/SILK', clockRate: 24000 },
  8000: { mimeType: 'audio/iLBC', clockRate: 8000 },
}

interface Codec {
  mimeType: string
  clockRate: number
}

function isPlain(codec: Codec): boolean {
  return codec.mimeType.toLowerCase() === 'audio/telephone-event'
}

/** Codecs as the worker is to know them. */
export function disguise<C extends Codec>(codecs: readonly C[]): C[] {
  return codecs.map(codec => (isPlain(codec) ? { ...codec, ...disguises[codec.clockRate] } : codec))
}

/** The clock rate of a telephone-event, disguised or not; undefined for anything else. */
export function eventRate(codec: Codec): number | undefined {
  if (isPlain(codec)) return codec.clockRate
  const found = Object.entries(disguises).find(([, one]) => one.mimeType === codec.mimeType)
  return found === undefined ? undefined : Number(found[0])
}
