import { useEffect, useRef, useState } from 'react'
import type { Call } from '../call.ts'
import type { CallView } from '../call-view.ts'
import { useWorld } from '../context.ts'
import { Icon } from '../icons.tsx'
import { useStore } from '../store.ts'
import { clock, type Key } from '../texts/texts.ts'
import { Keypad } from './keypad.tsx'
import { MeetingScreen, PersonForm } from './meeting.tsx'
import { Tool } from './tool.tsx'
import { Transfer } from './transfer.tsx'

/** The calls there are; one of them is in front. */
export function CallScreen() {
  const { phone, say } = useWorld()
  const { calls, shown, meeting } = useStore(phone.state)
  const front = calls.find(one => one.id === shown) ?? calls.at(-1)
  return (
    <aside className={meeting ? 'calls whole' : 'calls'} aria-label={say('callsHere')}>
      {meeting && <MeetingScreen key={meeting.id} meeting={meeting} />}
      {calls.length > 1 && (
        <ul className="others">
          {calls
            .filter(one => one !== front)
            .map(one => (
              <Other key={one.id} call={one} />
            ))}
        </ul>
      )}
      {front && <One key={front.id} call={front} others={calls.filter(one => one !== front)} />}
    </aside>
  )
}

function Other({ call }: { call: Call }) {
  const { phone, say } = useWorld()
  const view = useStore(call.view)
  return (
    <li>
      <button type="button" className="wide" onClick={() => phone.show(call.id)}>
        {say('switchTo', { name: view.name })} <small>{say(stateText(view))}</small>
      </button>
    </li>
  )
}

type Sheet = 'keypad' | 'transfer' | 'add' | undefined

function One({ call, others }: { call: Call; others: readonly Call[] }) {
  const { phone, say } = useWorld()
  const { mayRecord } = useStore(phone.state)
  const view = useStore(call.view)
  const [sheet, setSheet] = useState<Sheet>()
  const [failure, setFailure] = useState<Key>()
  const first = useRef<HTMLButtonElement>(null)
  const incoming = view.state === 'incoming'
  useEffect(() => {
    if (incoming) first.current?.focus()
  }, [incoming])
  const talking = view.state === 'talking' || view.state === 'mending'

  async function record() {
    setFailure((await call.record(!view.recorded)) ? undefined : 'recordFailed')
  }

  async function hold() {
    setFailure((await call.hold(!view.held)) ? undefined : 'holdFailed')
  }

  return (
    <section
      className={`call ${view.state}`}
      role={incoming ? 'alertdialog' : 'region'}
      aria-label={incoming ? `${view.name} ${say('incoming')}` : view.name}
    >
      <span className={incoming || view.state === 'ringing' ? 'face large rings' : 'face large'} aria-hidden="true">
        {view.name.slice(0, 1).toUpperCase()}
      </span>
      <h2>{view.name}</h2>
      <p role="status" aria-live={incoming ? 'assertive' : 'polite'}>
        {say(view.why ?? stateText(view))}
        {view.recorded && <strong className="missed"> · {say('recording')}</strong>}
      </p>
      {talking && <Facts view={view} />}
      {failure && (
        <p className="wrong" role="alert">
          {say(failure)}
        </p>
      )}
      {sheet === 'keypad' && <Keypad call={call} />}
      {sheet === 'transfer' && (
        <Transfer
          call={call}
          others={others}
          onFailed={() => setFailure('transferFailed')}
          onDone={() => setSheet(undefined)}
        />
      )}
      {sheet === 'add' && (
        <PersonForm
          label={say('inviteWhom')}
          button={say('invite')}
          onChosen={user => void phone.addPerson(call, user)}
        />
      )}
      {talking && (
        <div className="tools">
          <Tool icon={view.muted ? 'mute' : 'unmute'} on={view.muted} onClick={() => call.mute(!view.muted)}>
            {say(view.muted ? 'unmute' : 'mute')}
          </Tool>
          <Tool icon={view.held ? 'resume' : 'hold'} on={view.held} onClick={hold}>
            {say(view.held ? 'resume' : 'hold')}
          </Tool>
          <Tool
            icon="keypad"
            on={sheet === 'keypad'}
            onClick={() => setSheet(sheet === 'keypad' ? undefined : 'keypad')}
          >
            {say('keypad')}
          </Tool>
          <Tool
            icon="transfer"
            on={sheet === 'transfer'}
            onClick={() => setSheet(sheet === 'transfer' ? undefined : 'transfer')}
          >
            {say('transfer')}
          </Tool>
          <Tool icon="add" on={sheet === 'add'} onClick={() => setSheet(sheet === 'add' ? undefined : 'add')}>
            {say('addPerson')}
          </Tool>
          {mayRecord && (
            <Tool icon="record" on={view.recorded} onClick={record}>
              {say(view.recorded ? 'stopRecording' : 'record')}
            </Tool>
          )}
        </div>
      )}
      {view.state !== 'ended' && (
        <div className="row ends">
          {incoming && (
            <button type="button" ref={first} className="big yes" onClick={() => void call.answer()}>
              <Icon name="call" /> {say('answer')}
            </button>
          )}
          <button type="button" className="big no" onClick={() => call.hangUp()}>
            <Icon name="hangUp" /> {say(incoming ? 'decline' : 'hangUp')}
          </button>
        </div>
      )}
    </section>
  )
}

/** Time, quality and way, in words. */
function Facts({ view }: { view: CallView }) {
  const { say } = useWorld()
  const [, tick] = useState(0)
  useEffect(() => {
    const timer = setInterval(() => tick(n => n + 1), 1000)
    return () => clearInterval(timer)
  }, [])
  const words = [say(qualityText[view.quality]), view.path === 'unknown' ? '' : say(view.path)].filter(
    word => word !== '',
  )
  return (
    <p className={`facts ${view.quality}`}>
      <time>{clock((Date.now() - (view.since ?? Date.now())) / 1000)}</time>
      {words.map(word => (
        <span key={word}> · {word}</span>
      ))}
    </p>
  )
}

const qualityText: Record<CallView['quality'], Key> = {
  unknown: 'unknown',
  good: 'good',
  'some-loss': 'someLoss',
  delayed: 'delayed',
  bad: 'bad',
  silent: 'silent',
}

function stateText(view: CallView): Key {
  if (view.state === 'talking') return view.held ? 'onHold' : view.heldByPeer ? 'heldByPeer' : 'talking'
  return view.state
}
