import { type FormEvent, useId, useState } from 'react'
import type { Call } from '../call.ts'
import { useWorld } from '../context.ts'
import { useStore } from '../store.ts'

/** Hands a call over: at once, or after having asked; or connects the parties of two calls. */
export function Transfer(props: { call: Call; others: readonly Call[]; onFailed(): void; onDone(): void }) {
  const { call, others, onFailed, onDone } = props
  const { phone, say } = useWorld()
  const { people } = useStore(phone.state)
  const [whom, setWhom] = useState('')
  const id = useId()
  const user = people.find(one => one.name.toLowerCase() === whom.trim().toLowerCase())?.user ?? whom.trim()

  async function hand(target: string | Call) {
    onDone()
    if (!(await call.transfer(target))) onFailed()
  }
  function submit(event: FormEvent) {
    event.preventDefault()
    if (user !== '') void hand(phone.address(user))
  }

  return (
    <form className="sheet" onSubmit={submit}>
      {others
        .filter(one => one.view.get().since !== undefined && !one.ended)
        .map(one => (
          <button key={one.id} type="button" className="first wide" onClick={() => void hand(one)}>
            {say('transferJoin', { name: one.view.get().name })}
          </button>
        ))}
      <label htmlFor={id}>{say('transferTo')}</label>
      <input
        id={id}
        list={`${id}l`}
        value={whom}
        onChange={event => setWhom(event.target.value)}
        autoCapitalize="none"
        spellCheck={false}
      />
      <datalist id={`${id}l`}>
        {people.map(one => (
          <option key={one.user} value={one.user}>
            {one.name}
          </option>
        ))}
      </datalist>
      <p className="row">
        <button type="submit" className="first" disabled={user === ''}>
          {say('transferNow')}
        </button>
        <button
          type="button"
          disabled={user === ''}
          onClick={() => {
            onDone()
            void phone.call(user)
          }}
        >
          {say('transferAsk')}
        </button>
      </p>
    </form>
  )
}
