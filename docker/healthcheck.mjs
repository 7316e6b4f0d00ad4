// Ends with 0 while the server answers. It asks for life and not for readiness: a container that is restarted because
// Redis is away would lose the calls that go on without it.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { loadConfig } from '../src/config/load.ts'

const { config } = loadConfig(process.env)

// Without plain HTTP there is nobody to ask; that the process lives is all that can be said.
if (config.http.enabled) {
  // Written when everything listens, with the port that could be opened; removed at the end.
  const { pid, api } = JSON.parse(readFileSync(join(config.data, 'run.json'), 'utf8'))
  if (api === undefined) process.kill(pid, 0)
  else {
    const answer = await fetch(`${api}/health`, { signal: AbortSignal.timeout(4000) })
    if (!answer.ok) throw new Error(`${api}/health: ${answer.status}`)
  }
}
