import { useMemo, useState } from 'react'
import { WorldContext } from './context.ts'
import { Icon } from './icons.tsx'
import type { Phone, PhoneState } from './phone.ts'
import { CallScreen } from './screens/call.tsx'
import { History } from './screens/history.tsx'
import { People } from './screens/people.tsx'
import { Settings } from './screens/settings.tsx'
import { Welcome } from './screens/welcome.tsx'
import { useStore } from './store.ts'
import { chooseLanguage, type Key, type Say, speak } from './texts/texts.ts'

const languageKey = 'vaartha.language'
const pages = ['people', 'history', 'settings'] as const
type Page = (typeof pages)[number]

export function App({ phone }: { phone: Phone }) {
  const state = useStore(phone.state)
  const [page, setPage] = useState<Page>('people')
  const [language, setLanguage] = useState(() => {
    const kept = localStorage.getItem(languageKey)
    return chooseLanguage([...(kept === null ? [] : [kept]), ...navigator.languages])
  })
  const world = useMemo(
    () => ({
      phone,
      language,
      say: speak(language),
      setLanguage(next: string) {
        localStorage.setItem(languageKey, next)
        setLanguage(next)
      },
    }),
    [phone, language],
  )
  document.documentElement.lang = language
  const { say } = world
  if (state.stage === 'starting')
    return (
      <p className="lonely" role="status">
        {say('preparing')}
      </p>
    )
  const inCall = state.calls.length > 0 || state.meeting !== undefined
  return (
    <WorldContext value={world}>
      <div className={inCall ? 'app busy' : 'app'}>
        <Head state={state} say={say} />
        {!phone.devices.possible && <Insecure state={state} say={say} />}
        {state.stage === 'welcome' ? (
          <Welcome />
        ) : (
          <>
            <nav aria-label="Vaartha">
              {pages.map(one => (
                <button
                  key={one}
                  type="button"
                  aria-current={page === one ? 'page' : undefined}
                  onClick={() => setPage(one)}
                >
                  <Icon name={one} />
                  <span>{say(one)}</span>
                </button>
              ))}
            </nav>
            <main>
              {page === 'people' && <People />}
              {page === 'history' && <History />}
              {page === 'settings' && <Settings />}
            </main>
          </>
        )}
        {inCall && <CallScreen />}
      </div>
    </WorldContext>
  )
}

function Head({ state, say }: { state: PhoneState; say: Say }) {
  const { profiles, registration, hello } = state
  const through = registration === 'connecting' && state.server !== undefined && state.server !== location.host
  // Before a server is reached it is the first one's turn.
  const profile = state.profile ?? profiles[0]
  return (
    <header>
      <h1>{profile?.displayName || profile?.user || 'Vaartha'}</h1>
      {profile !== undefined && (
        <p className={`line ${registration}`} role="status">
          <span aria-hidden="true" className="dot" />
          {through ? say('through', { place: state.server ?? '' }) : say(registration satisfies Key)}
          {registration === 'online' && <small> · {profile.domain}</small>}
        </p>
      )}
      {profile === undefined && hello !== undefined && <p className="line">{hello.domain}</p>}
    </header>
  )
}

/** Plain HTTP: browsers give no microphone, so the way to a trusted page is all that can be offered. */
function Insecure({ state, say }: { state: PhoneState; say: Say }) {
  const { hello } = state
  const secure = hello?.securePort
  const here = location.pathname === '/join' ? `/join${location.hash}` : '/'
  const origin = secure ? `https://${location.hostname}${secure === 443 ? '' : `:${secure}`}` : undefined
  return (
    <section className="card warn" role="alert">
      {location.pathname === '/join' && <p>{say('invitationHere')}</p>}
      <p>{say('insecure')}</p>
      <p className="row">
        {hello?.ownAuthority && (
          <a className="button first" href={`/trust${location.hash}`}>
            {say('insecureTrust')}
          </a>
        )}
        {origin && (
          <a className="button" href={origin + here}>
            {say('insecureGo')}
          </a>
        )}
      </p>
    </section>
  )
}
