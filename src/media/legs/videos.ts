import type { types } from 'mediasoup'
import type { Leg, Scene, Size } from './leg.ts'
import { chooseTiles, orderPictures } from './tiles.ts'

interface Shown {
  leg: Leg
  producer: types.Producer
}

/** What each leg is shown now, by line; forgotten with the leg. */
const shownTo = new WeakMap<Leg, Map<string, Shown>>()

/**
 * Shows a leg the videos of others: at most `tiles`, screens first, then by who of `spoken` (last speaker first). Tells the
 * leg whom each line shows.
 */
export async function showVideos(
  to: Leg,
  others: readonly Leg[],
  options: { tiles?: number | undefined; spoken?: readonly string[] } = {},
): Promise<void> {
  const { scene } = to
  if (scene === undefined) return
  const pictures = others.flatMap(leg =>
    (leg.scene?.videos() ?? []).map(({ producer, screen }) => ({
      id: producer.id,
      leg: leg.id,
      from: leg,
      producer,
      screen,
    })),
  )
  const wanted = orderPictures(pictures, options.spoken ?? []).slice(0, options.tiles ?? pictures.length)
  scene.want(wanted.length)
  const lines = scene.tiles()
  const shown = shownTo.get(to) ?? new Map<string, Shown>()
  const now = new Map([...shown].map(([mid, one]) => [mid, one.producer.id]))
  const next = chooseTiles(
    lines,
    now,
    wanted.map(picture => picture.id),
  )
  const size = sizeOf(next.size)
  const after = new Map<string, Shown>()
  for (const mid of new Set([...lines, ...shown.keys()])) {
    const picture = wanted.find(one => one.id === next.get(mid))
    if (picture !== undefined) after.set(mid, { leg: picture.from, producer: picture.producer })
  }
  shownTo.set(to, after)
  for (const mid of lines) {
    const { leg, producer } = after.get(mid) ?? {}
    const local = producer && leg?.scene ? await bring(producer, leg.scene, scene) : undefined
    await scene.show(mid, local, producer?.appData.screen === true ? 'large' : size)
  }
  for (const mid of new Set([...shown.keys(), ...after.keys()])) {
    const leg = after.get(mid)?.leg
    if (leg !== shown.get(mid)?.leg) to.tell({ type: 'tile', mid, leg: leg?.id })
  }
}

function sizeOf(count: number): Size {
  return count <= 1 ? 'large' : count <= 4 ? 'medium' : 'small'
}

/** The producer on the router of who looks at it: its own, or one that it is piped to. */
async function bring(producer: types.Producer, from: Scene, to: Scene): Promise<types.Producer | undefined> {
  if (producer.closed) return undefined
  return from.place === to.place ? producer : to.place.pipe(producer, from.place)
}
