import { useWorld } from '../context.ts'
import { Icon } from '../icons.tsx'
import type { Past } from '../server.ts'
import { useStore } from '../store.ts'
import { clock } from '../texts/texts.ts'

/** The last calls of this person, from whatever phone. */
export function History() {
  const { phone, say, language } = useWorld()
  const { past, profile, people } = useStore(phone.state)
  const own = `sip:${profile?.user}@${profile?.domain}`
  const time = new Intl.DateTimeFormat(language, { dateStyle: 'short', timeStyle: 'short' })

  function row(one: Past) {
    const out = one.from === own
    const user = (out ? one.to : one.from).replace(/^sips?:/, '').replace(/@.*$/, '')
    const name = people.find(person => person.user === user)?.name ?? user
    const missed = !out && one.answered === undefined
    return (
      <li key={one.started + one.to}>
        <span className="grow">
          <strong className={missed ? 'missed' : undefined}>{name}</strong>
          <small>
            {say(out ? 'historyTo' : 'historyFrom', { name: user })} · {time.format(new Date(one.started))} ·{' '}
            {one.answered === undefined ? say(missed ? 'missed' : 'noAnswer') : clock(one.seconds)}
          </small>
        </span>
        <button
          type="button"
          className="round"
          aria-label={say('callName', { name })}
          disabled={!phone.devices.possible}
          onClick={() => void phone.call(user, name)}
        >
          <Icon name="call" />
        </button>
      </li>
    )
  }

  return (
    <>
      <h2 className="unseen">{say('history')}</h2>
      {past.length === 0 ? <p className="quiet">{say('noHistory')}</p> : <ul className="list">{past.map(row)}</ul>}
    </>
  )
}
