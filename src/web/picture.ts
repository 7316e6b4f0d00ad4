import type { Devices } from './devices.ts'

// What one shows of oneself in a meeting.

export type Showing = 'nothing' | 'camera' | 'screen'

/** Opens the camera or asks which screen to show; `onEnd` is told when that is taken away from outside. */
export async function openPicture(
  devices: Devices,
  what: Showing,
  onEnd: () => void,
): Promise<MediaStream | undefined | 'refused'> {
  if (what === 'nothing') return undefined
  try {
    const stream =
      what === 'camera'
        ? await devices.camera()
        : await navigator.mediaDevices.getDisplayMedia({ video: { frameRate: { ideal: 15 } } })
    for (const track of stream.getVideoTracks()) {
      // Letters must stay sharp; movement may stutter.
      if (what === 'screen') track.contentHint = 'detail'
      track.addEventListener('ended', onEnd)
    }
    return stream
  } catch {
    return 'refused'
  }
}

export function stopAll(stream: MediaStream | undefined): void {
  for (const track of stream?.getTracks() ?? []) track.stop()
}
