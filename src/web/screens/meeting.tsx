import { type FormEvent, useEffect, useId, useRef, useState } from 'react'
import { useWorld } from '../context.ts'
import { Icon } from '../icons.tsx'
import type { Meeting } from '../meeting.ts'
import type { MeetingView } from '../meeting-view.ts'
import type { RosterMember } from '../roster.ts'
import { useStore } from '../store.ts'
import { clock, type Key } from '../texts/texts.ts'
import { Tool } from './tool.tsx'

/** A meeting: who is in it, what they show, and what one may do. */
export function MeetingScreen({ meeting }: { meeting: Meeting }) {
  const { say } = useWorld()
  const view = useStore(meeting.view)
  const [adding, setAdding] = useState(false)
  const inside = view.state === 'talking' || view.state === 'mending'
  return (
    <section className={`meeting ${view.state}`} aria-label={`${say('meeting')}: ${view.name}`}>
      <MeetingHead view={view} />
      {inside && <Tiles meeting={meeting} view={view} />}
      {inside && adding && <Invite meeting={meeting} onDone={() => setAdding(false)} />}
      {inside && <Tools meeting={meeting} view={view} adding={adding} onAdd={() => setAdding(!adding)} />}
      <Ends meeting={meeting} view={view} />
    </section>
  )
}

function MeetingHead({ view }: { view: MeetingView }) {
  const { say } = useWorld()
  const { roster, state, since } = view
  const [, tick] = useState(0)
  useEffect(() => {
    const timer = setInterval(() => tick(n => n + 1), 1000)
    return () => clearInterval(timer)
  }, [])
  const shape: Key = roster.settled === 'sfu' ? 'server' : roster.settled
  return (
    <div className="meeting-head">
      <h2>{view.name}</h2>
      <p role="status" aria-live={state === 'incoming' ? 'assertive' : 'polite'}>
        {view.why || state !== 'talking'
          ? say(view.why ?? (state as Key))
          : say('participants', { count: roster.members.length })}
      </p>
      {state === 'talking' && (
        <p className="facts">
          <time>{clock((Date.now() - (since ?? Date.now())) / 1000)}</time>
          {' · '}
          <span className="shape">{say(shape)}</span>
          {roster.preparing && <> · {say('changing')}</>}
          {roster.locked && <> · {say('locked')}</>}
          {roster.recording && <strong className="missed"> · {say('recording')}</strong>}
        </p>
      )}
    </div>
  )
}

function Tiles({ meeting, view }: { meeting: Meeting; view: MeetingView }) {
  const { say } = useWorld()
  const { roster, self } = view
  const may = roster.adhoc || roster.members.some(one => one.id === self && one.moderator)
  return (
    <ul className="tiles">
      {roster.members.map(member => (
        <Tile key={member.id} meeting={meeting} member={member} view={view} may={may} />
      ))}
      {roster.ringing.map(({ aor, name }) => (
        <li key={aor} className="tile">
          <span className="face large rings" aria-hidden="true">
            {name.slice(0, 1).toUpperCase()}
          </span>
          <span className="name">
            {name} <small>{say('rings')}</small>
          </span>
        </li>
      ))}
    </ul>
  )
}

function Tile(props: { meeting: Meeting; member: RosterMember; view: MeetingView; may: boolean }) {
  const { meeting, member, view, may } = props
  const { say } = useWorld()
  const own = member.id === view.self
  const picture = view.pictures.get(member.id)
  const speaks = view.speaking.has(member.id)
  const muted = own ? view.muted : member.muted
  return (
    <li className={speaks ? 'tile speaks' : 'tile'} data-member={member.id}>
      {picture ? (
        <Picture stream={picture} mirrored={own && view.showing === 'camera'} label={member.name} />
      ) : (
        <span className="face large" aria-hidden="true">
          {member.name.slice(0, 1).toUpperCase()}
        </span>
      )}
      <span className="name">
        {member.name}
        {own && ` (${say('you')})`}
        {muted && (
          <span className="flag">
            <Icon name="mute" />
            <span className="unseen">{say('isMuted')}</span>
          </span>
        )}
        {speaks && <span className="unseen">{say('speaks')}</span>}
      </span>
      {may && !own && (
        <span className="member-tools">
          <button
            type="button"
            className="round"
            aria-label={say(muted ? 'unmuteName' : 'muteName', { name: member.name })}
            onClick={() => meeting.do({ do: muted ? 'unmute' : 'mute', member: member.id })}
          >
            <Icon name={muted ? 'unmute' : 'mute'} />
          </button>
          <button
            type="button"
            className="round"
            aria-label={say('removeName', { name: member.name })}
            onClick={() => meeting.do({ do: 'remove', member: member.id })}
          >
            <Icon name="close" />
          </button>
        </span>
      )}
    </li>
  )
}

function Picture({ stream, mirrored, label }: { stream: MediaStream; mirrored: boolean; label: string }) {
  const element = useRef<HTMLVideoElement>(null)
  useEffect(() => {
    if (element.current && element.current.srcObject !== stream) element.current.srcObject = stream
  }, [stream])
  return (
    <video ref={element} className={mirrored ? 'mirrored' : undefined} aria-label={label} autoPlay playsInline muted />
  )
}

function Tools(props: { meeting: Meeting; view: MeetingView; adding: boolean; onAdd(): void }) {
  const { meeting, view, adding, onAdd } = props
  const { say } = useWorld()
  const { roster, self, showing } = view
  const may = roster.adhoc || roster.members.some(one => one.id === self && one.moderator)
  const canShare = 'getDisplayMedia' in (navigator.mediaDevices ?? {})
  return (
    <div className="tools">
      <Tool icon={view.muted ? 'mute' : 'unmute'} on={view.muted} onClick={() => meeting.mute(!view.muted)}>
        {say(view.muted ? 'unmute' : 'mute')}
      </Tool>
      <Tool
        icon={showing === 'camera' ? 'camera' : 'cameraOff'}
        on={showing === 'camera'}
        onClick={() => void meeting.display(showing === 'camera' ? 'nothing' : 'camera')}
      >
        {say(showing === 'camera' ? 'cameraOff' : 'cameraOn')}
      </Tool>
      {canShare && (
        <Tool
          icon="screen"
          on={showing === 'screen'}
          onClick={() => void meeting.display(showing === 'screen' ? 'nothing' : 'screen')}
        >
          {say(showing === 'screen' ? 'stopSharing' : 'shareScreen')}
        </Tool>
      )}
      <Tool icon="add" on={adding} onClick={onAdd}>
        {say('addPerson')}
      </Tool>
      {may && (
        <>
          <Tool icon="lock" on={roster.locked} onClick={() => meeting.do({ do: roster.locked ? 'unlock' : 'lock' })}>
            {say(roster.locked ? 'unlock' : 'lock')}
          </Tool>
          <Tool
            icon="record"
            on={roster.recording}
            onClick={() => meeting.do({ do: roster.recording ? 'stop-recording' : 'record' })}
          >
            {say(roster.recording ? 'stopRecording' : 'record')}
          </Tool>
          <Tool icon="close" onClick={() => meeting.do({ do: 'end' })}>
            {say('endForAll')}
          </Tool>
        </>
      )}
    </div>
  )
}

function Invite({ meeting, onDone }: { meeting: Meeting; onDone(): void }) {
  const { say } = useWorld()
  return (
    <PersonForm
      label={say('inviteWhom')}
      button={say('invite')}
      onChosen={user => {
        meeting.do({ do: 'invite', user })
        onDone()
      }}
    />
  )
}

/** A name, out of those that there are or typed. */
export function PersonForm(props: { label: string; button: string; onChosen(user: string): void }) {
  const { phone } = useWorld()
  const { people } = useStore(phone.state)
  const [whom, setWhom] = useState('')
  const id = useId()
  const user = people.find(one => one.name.toLowerCase() === whom.trim().toLowerCase())?.user ?? whom.trim()
  function submit(event: FormEvent) {
    event.preventDefault()
    if (user !== '') props.onChosen(user)
  }
  return (
    <form className="sheet" onSubmit={submit}>
      <label htmlFor={id}>{props.label}</label>
      <p className="row">
        <input
          id={id}
          className="grow"
          list={`${id}l`}
          value={whom}
          onChange={event => setWhom(event.target.value)}
          autoCapitalize="none"
          spellCheck={false}
        />
        <button type="submit" className="first" disabled={user === ''}>
          {props.button}
        </button>
      </p>
      <datalist id={`${id}l`}>
        {people
          .filter(one => !one.group)
          .map(one => (
            <option key={one.user} value={one.user}>
              {one.name}
            </option>
          ))}
      </datalist>
    </form>
  )
}

function Ends({ meeting, view }: { meeting: Meeting; view: MeetingView }) {
  const { say } = useWorld()
  const first = useRef<HTMLButtonElement>(null)
  const incoming = view.state === 'incoming'
  useEffect(() => {
    if (incoming) first.current?.focus()
  }, [incoming])
  if (view.state === 'ended') return null
  return (
    <div className="row ends">
      {incoming && (
        <button type="button" ref={first} className="big yes" onClick={() => void meeting.answer()}>
          <Icon name="call" /> {say('answer')}
        </button>
      )}
      <button type="button" className="big no" onClick={() => meeting.leave()}>
        <Icon name="hangUp" /> {say(incoming ? 'decline' : 'leave')}
      </button>
    </div>
  )
}
