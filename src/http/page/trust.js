// Looks whether this browser trusts the server: https:// of the same machine can be read only then.

const state = document.querySelector('[data-check]')
const go = document.querySelector('[data-go]')

async function look() {
  const secure = state?.dataset.check
  if (!secure) return
  state.textContent = 'Looking …'
  try {
    const answer = await fetch(`${secure}/health`, { mode: 'cors', cache: 'no-store' })
    if (!answer.ok) throw new Error(String(answer.status))
    state.textContent = 'It worked: this browser trusts the server.'
    state.dataset.trusted = 'yes'
    // An invitation's token stands behind the # and goes along.
    go.querySelector('a').href = secure + (location.hash.length > 1 ? `/join${location.hash}` : '/')
    go.hidden = false
  } catch {
    state.textContent = 'Not yet: this browser does not trust the server. After the three steps, close all its windows and look again.'
    state.dataset.trusted = 'no'
  }
}

const agent = navigator.userAgent
const id = /iPhone|iPad/.test(agent) || (/Macintosh/.test(agent) && navigator.maxTouchPoints > 1) ? 'ios'
  : /Android/.test(agent) ? 'android'
  : /Firefox/.test(agent) ? 'linux'
  : /Windows/.test(agent) ? 'windows'
  : /Macintosh/.test(agent) ? 'macos'
  : 'linux'
document.getElementById(id)?.setAttribute('open', '')
document.querySelector('[data-look]')?.addEventListener('click', look)
void look()
