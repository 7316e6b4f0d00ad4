import { type FormEvent, useId, useState } from 'react'
import { useWorld } from '../context.ts'
import { Failure } from '../server.ts'
import { useStore } from '../store.ts'
import type { Key } from '../texts/texts.ts'

/** Who one is: name and password, or word of an invitation that was no good. */
export function Welcome() {
  const { phone, say } = useWorld()
  const { uninvited } = useStore(phone.state)
  const [user, setUser] = useState('')
  const [password, setPassword] = useState('')
  const [busy, setBusy] = useState(false)
  const [wrong, setWrong] = useState<Key | undefined>()
  const id = useId()

  async function submit(event: FormEvent) {
    event.preventDefault()
    setBusy(true)
    setWrong(undefined)
    try {
      await phone.signIn(user, password)
    } catch (error) {
      if (!(error instanceof Failure)) throw error
      setWrong(error.status === 401 ? 'wrongPassword' : error.status === 0 ? 'noServer' : 'tooMany')
      setBusy(false)
    }
  }

  return (
    <main className="narrow">
      <p>{say('welcome')}</p>
      {uninvited && (
        <p className="card warn" role="alert">
          {say('invitationUsed')}
        </p>
      )}
      <form className="card" onSubmit={submit}>
        <label htmlFor={`${id}u`}>{say('user')}</label>
        <input
          id={`${id}u`}
          value={user}
          onChange={event => setUser(event.target.value)}
          autoComplete="username"
          autoCapitalize="none"
          spellCheck={false}
          aria-describedby={`${id}h`}
          required
        />
        <small id={`${id}h`}>{say('userHelp')}</small>
        <label htmlFor={`${id}p`}>{say('password')}</label>
        <input
          id={`${id}p`}
          type="password"
          value={password}
          onChange={event => setPassword(event.target.value)}
          autoComplete="current-password"
          required
        />
        <p className="wrong" role="alert">
          {wrong && say(wrong)}
        </p>
        <button type="submit" className="first wide" disabled={busy}>
          {say(busy ? 'preparing' : 'signIn')}
        </button>
      </form>
    </main>
  )
}
