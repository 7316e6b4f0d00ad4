import type { FocusMedia } from './focus-media.ts'
import type { Mesh } from './mesh.ts'
import type { Roster } from './roster.ts'

// Who is seen and heard in a meeting, by the way that is played now.

const speaksAbove = 0.02

/** What members show, by their id; one's own picture too. */
export function picturesOf(
  mesh: Mesh,
  focus: FocusMedia,
  roster: Roster,
  own: { id: number; picture: MediaStream | undefined },
): Map<number, MediaStream> {
  const pictures = mesh.playing ? new Map<number, MediaStream>() : focus.pictures()
  if (mesh.playing)
    for (const { id } of roster.members) {
      const picture = mesh.pair(id)?.picture
      if (picture) pictures.set(id, picture)
    }
  pictures.delete(own.id)
  if (own.picture) pictures.set(own.id, own.picture)
  return pictures
}

/** Who speaks besides oneself: told by the focus, or heard in the pairs. */
export function speakersOf(mesh: Mesh, roster: Roster, self: number): Set<number> {
  const speaking = new Set<number>()
  if (mesh.playing) {
    for (const { id } of roster.members) if ((mesh.pair(id)?.level() ?? 0) > speaksAbove) speaking.add(id)
  } else if (roster.speaker !== undefined) speaking.add(roster.speaker)
  speaking.delete(self)
  return speaking
}
