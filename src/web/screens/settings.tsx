import { type FormEvent, useEffect, useId, useState } from 'react'
import { useWorld } from '../context.ts'
import type { Kind } from '../devices.ts'
import { ha1Of } from '../digest.ts'
import { askToNotify, mayNotify } from '../notify.ts'
import { serverName } from '../profiles.ts'
import { useStore } from '../store.ts'
import { languages } from '../texts/texts.ts'
import { Check } from './check.tsx'

export function Settings() {
  const { phone, say, language, setLanguage } = useWorld()
  const { hello } = useStore(phone.state)
  const [notifying, setNotifying] = useState(mayNotify)
  const id = useId()
  return (
    <div className="columns">
      <h2 className="unseen">{say('settings')}</h2>
      <Check />
      <Profiles />
      <section className="card">
        {notifying ? (
          <p>{say('notificationsOn')}</p>
        ) : (
          <button type="button" className="wide" onClick={async () => setNotifying(await askToNotify())}>
            {say('notifications')}
          </button>
        )}
        <label htmlFor={id}>{say('languageChoice')}</label>
        <select id={id} value={language} onChange={event => setLanguage(event.target.value)}>
          {Object.entries(languages).map(([tag, texts]) => (
            <option key={tag} value={tag}>
              {texts.language}
            </option>
          ))}
        </select>
        <p className="quiet">
          <a href="/status">{say('status')}</a>
          {hello && <> · {say('version', { version: hello.version })}</>}
        </p>
      </section>
    </div>
  )
}

export function DeviceChoice({ kind }: { kind: Kind }) {
  const { phone, say } = useWorld()
  const { list, chosen } = useStore(phone.devices.state)
  const id = useId()
  useEffect(() => void phone.devices.refresh(), [phone])
  const fitting = list.filter(one => one.kind === kind && one.id !== '' && one.label !== '')
  return (
    <>
      <label htmlFor={id}>
        {say(kind === 'audioinput' ? 'microphone' : kind === 'audiooutput' ? 'speaker' : 'camera')}
      </label>
      <select id={id} value={chosen[kind]} onChange={event => phone.devices.choose(kind, event.target.value)}>
        <option value="">{say('defaultDevice')}</option>
        {fitting.map(one => (
          <option key={one.id} value={one.id}>
            {one.label}
          </option>
        ))}
      </select>
    </>
  )
}

function Profiles() {
  const { phone, say } = useWorld()
  const { profiles, profile } = useStore(phone.state)
  const [adding, setAdding] = useState(false)
  return (
    <section className="card">
      <h3>{say('profiles')}</h3>
      <ul className="list">
        {profiles.map(one => (
          <li key={one.id}>
            <span className="grow">
              <strong>
                {one.user}@{one.domain}
              </strong>
              <small>
                {one.name} · {one.servers.join(', ')}
                {one.id === profile?.id && <> · {say('profileUsed')}</>}
              </small>
            </span>
            <button
              type="button"
              aria-label={say('profileRemove', { name: one.user })}
              onClick={() => phone.removeProfile(one.id)}
            >
              {say('signOut')}
            </button>
          </li>
        ))}
      </ul>
      {profiles.length > 1 && <p className="quiet">{say('profileHelp')}</p>}
      {adding ? (
        <AddProfile onDone={() => setAdding(false)} />
      ) : (
        <button type="button" className="wide" onClick={() => setAdding(true)}>
          {say('profileAdd')}
        </button>
      )}
    </section>
  )
}

const fields = ['profileName', 'profileServer', 'profileDomain', 'user', 'password'] as const

function AddProfile({ onDone }: { onDone(): void }) {
  const { phone, say } = useWorld()
  const [values, setValues] = useState<Record<string, string>>({})
  const id = useId()

  function submit(event: FormEvent) {
    event.preventDefault()
    const text = (name: (typeof fields)[number]) => (values[name] ?? '').trim()
    const place = serverName(text('profileServer'))
    if (place === undefined) return
    const user = text('user').toLowerCase()
    const domain = text('profileDomain').toLowerCase() || place.replace(/:\d+$/, '')
    phone.addProfile({
      id: `${user}@${domain}`,
      name: text('profileName') || place,
      servers: [place],
      user,
      domain,
      displayName: '',
      ha1: ha1Of(user, domain, values['password'] ?? ''),
    })
    onDone()
  }

  return (
    <form onSubmit={submit}>
      {fields.map(name => (
        <p key={name}>
          <label htmlFor={id + name}>{say(name)}</label>
          <input
            id={id + name}
            type={name === 'password' ? 'password' : 'text'}
            value={values[name] ?? ''}
            placeholder={name === 'profileServer' ? say('profileServerHelp') : undefined}
            autoCapitalize="none"
            required={name === 'profileServer' || name === 'user' || name === 'password'}
            onChange={event => setValues({ ...values, [name]: event.target.value })}
          />
        </p>
      ))}
      <p className="row">
        <button type="submit" className="first">
          {say('profileAdd')}
        </button>
        <button type="button" onClick={onDone}>
          {say('back')}
        </button>
      </p>
    </form>
  )
}
