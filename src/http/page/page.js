// Keeps the administrator's page fresh: facts say that something has changed, the server draws it anew.

const liveState = document.querySelector('[data-live-state]')

function showTimes(root) {
  for (const time of root.querySelectorAll('time')) time.textContent = new Date(time.dateTime).toLocaleString()
}

async function refresh() {
  const answer = await fetch('/status', { headers: { accept: 'text/html' } })
  if (!answer.ok) return
  const fresh = new DOMParser().parseFromString(await answer.text(), 'text/html')
  if (fresh.querySelector('[data-live-state]') === null) return location.reload()
  showTimes(fresh)
  for (const part of fresh.querySelectorAll('[data-live]')) {
    const old = document.getElementById(part.id)
    if (old !== null && old.outerHTML !== part.outerHTML) old.replaceWith(document.adoptNode(part))
  }
}

let waiting
function refreshSoon() {
  waiting ??= setTimeout(async () => {
    try {
      await refresh()
    } finally {
      waiting = undefined
    }
  }, 1000)
}

function follow() {
  const names = [
    'registered', 'unregistered', 'callStarted', 'callRinging', 'callAnswered', 'callChanged', 'callEnded',
    'storeFailed', 'storeRecovered', 'addressesChanged', 'nameClaimed', 'mediaStateChanged', 'nodeChanged', 'drillChanged',
  ]
  const facts = new EventSource(`/api/events?facts=${names}`)
  facts.onopen = () => {
    liveState.textContent = 'Live.'
    refreshSoon()
  }
  facts.onerror = () => {
    liveState.textContent = 'Not live; trying again.'
  }
  for (const name of names) facts.addEventListener(name, refreshSoon)
}

showTimes(document)
if (liveState !== null) follow()
document.querySelector('[data-sign-out]')?.addEventListener('click', async () => {
  await fetch('/api/admin/session', { method: 'DELETE' })
  location.reload()
})

// The section is drawn anew while its buttons are there, so the page listens and not they.
document.addEventListener('click', async event => {
  const how = event.target.closest?.('[data-drill]')?.dataset.drill
  if (how === undefined) return
  const what = how === 'kill' ? 'This kills the active node with SIGKILL. Something must start it again.' : 'The active node gives away its calls and takes nothing new for a while.'
  if (!confirm(`${what} Test calls measure what people would notice. Go on?`)) return
  const answer = await fetch('/api/drill', {
    method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ how }),
  })
  const said = document.querySelector('[data-drill-said]')
  if (!answer.ok && said !== null) said.textContent = (await answer.json()).message
})
