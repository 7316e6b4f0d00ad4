import './style.css'
import { createRoot } from 'react-dom/client'
import { App } from './app.tsx'
import { createPhone } from './phone.ts'

const phone = createPhone()
createRoot(document.getElementById('root') as HTMLElement).render(<App phone={phone} />)
void phone.start()

// Only pages that the browser trusts may have a service worker; the others work without.
if ('serviceWorker' in navigator) void navigator.serviceWorker.register('/sw.js').catch(() => undefined)
