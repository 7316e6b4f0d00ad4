import { type FormEvent, useState } from 'react'
import { useWorld } from '../context.ts'
import { Icon } from '../icons.tsx'
import { useStore } from '../store.ts'

/** Everybody who can be called, and a field to find or type somebody. */
export function People() {
  const { phone, say } = useWorld()
  const { people, listed } = useStore(phone.state)
  const [wanted, setWanted] = useState('')
  const word = wanted.trim().toLowerCase()
  const found = people.filter(one => `${one.name} ${one.user}`.toLowerCase().includes(word))
  const can = phone.devices.possible

  function dial(event: FormEvent) {
    event.preventDefault()
    if (word === '') return
    const exact = people.find(one => one.user === word || one.name.toLowerCase() === word)
    void phone.call(exact?.user ?? wanted.trim(), exact?.name)
    setWanted('')
  }

  return (
    <>
      <h2 className="unseen">{say('people')}</h2>
      <form className="row" onSubmit={dial}>
        <input
          className="grow"
          type="search"
          aria-label={say('callWhom')}
          placeholder={say('search')}
          value={wanted}
          onChange={event => setWanted(event.target.value)}
          autoCapitalize="none"
          spellCheck={false}
          enterKeyHint="go"
        />
        <button type="submit" className="first" disabled={word === '' || !can}>
          <Icon name="call" /> {say('call')}
        </button>
      </form>
      <p className="row apart">
        <button type="button" disabled={!can} onClick={() => void phone.call('meet', say('meeting'))}>
          <Icon name="people" /> {say('newMeeting')}
        </button>
      </p>
      {listed && people.length === 0 && <p className="quiet">{say('nobody')}</p>}
      <ul className="list">
        {found.map(one => (
          <li key={one.user}>
            <span className={one.online ? 'face there' : 'face'} aria-hidden="true">
              {one.name.slice(0, 1).toUpperCase()}
            </span>
            <span className="grow">
              <strong>{one.name}</strong>
              <small>
                {one.user} · {say(one.group ? 'group' : one.online ? 'isOnline' : 'isOffline')}
              </small>
            </span>
            <button
              type="button"
              className="round"
              aria-label={say('callName', { name: one.name })}
              disabled={!can}
              onClick={() => void phone.call(one.user, one.name)}
            >
              <Icon name="call" />
            </button>
          </li>
        ))}
      </ul>
    </>
  )
}
