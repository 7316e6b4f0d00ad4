import { useEffect, useState } from 'react'
import { useWorld } from '../context.ts'
import { meter } from '../devices.ts'
import { DeviceChoice } from './settings.tsx'

// Louder than a quiet room, softer than a voice.
const heardAbove = 0.35

/** Before a call: choose devices, see one's own level, hear oneself by way of the server. */
export function Check() {
  const { phone, say } = useWorld()
  const [on, setOn] = useState(false)
  const [level, setLevel] = useState(0)
  const [heard, setHeard] = useState(false)
  const [failed, setFailed] = useState(false)

  useEffect(() => {
    if (!on) return
    let ended = false
    let stop = () => {}
    let stream: MediaStream | undefined
    const begin = async () => {
      try {
        stream = await phone.devices.microphone()
      } catch {
        setFailed(true)
        return setOn(false)
      }
      if (ended) return
      stop = meter(stream, now => {
        setLevel(now)
        if (now > heardAbove) setHeard(true)
      })
    }
    const begun = begin()
    const again = phone.devices.onChosen(kind => {
      if (kind === 'audioinput') setOn(false)
    })
    return () => {
      ended = true
      again()
      stop()
      void begun.then(() => {
        for (const track of stream?.getTracks() ?? []) track.stop()
      })
    }
  }, [on, phone])

  return (
    <section className="card">
      <h3>{say('check')}</h3>
      <DeviceChoice kind="audioinput" />
      <DeviceChoice kind="audiooutput" />
      <DeviceChoice kind="videoinput" />
      {on && (
        <>
          <meter aria-label={say('level')} min={0} max={1} value={level} className="level" />
          <p role="status">{say(heard ? 'checkHeard' : 'checkTooQuiet')}</p>
        </>
      )}
      {failed && (
        <p className="wrong" role="alert">
          {say('noMicrophone')}
        </p>
      )}
      <p className="row">
        <button type="button" className="grow" disabled={!phone.devices.possible} onClick={() => setOn(!on)}>
          {say(on ? 'checkStop' : 'checkStart')}
        </button>
        <button
          type="button"
          className="grow"
          disabled={!phone.devices.possible}
          onClick={() => void phone.call('*43', say('checkEcho'))}
        >
          {say('checkEcho')}
        </button>
      </p>
    </section>
  )
}
