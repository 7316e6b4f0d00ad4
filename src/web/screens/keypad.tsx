import { useEffect } from 'react'
import type { Call } from '../call.ts'
import { useWorld } from '../context.ts'

const keys = ['1', '2', '3', '4', '5', '6', '7', '8', '9', '*', '0', '#']

/** Sends keys into a call, by touch or from the keyboard. */
export function Keypad({ call }: { call: Call }) {
  const { phone, say } = useWorld()
  const press = (key: string) => {
    phone.tones.key(key)
    call.sendKey(key)
  }
  useEffect(() => {
    const listen = (event: KeyboardEvent) => {
      if (keys.includes(event.key) && !(event.target instanceof HTMLInputElement)) press(event.key)
    }
    window.addEventListener('keydown', listen)
    return () => window.removeEventListener('keydown', listen)
  })
  return (
    <fieldset className="keypad" aria-label={say('keypad')}>
      {keys.map(key => (
        <button key={key} type="button" onClick={() => press(key)}>
          {key}
        </button>
      ))}
    </fieldset>
  )
}
