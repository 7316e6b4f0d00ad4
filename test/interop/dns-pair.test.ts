import { test } from 'node:test'
import { runInLab } from '../support/lab.ts'
import { whyNoNamespaces } from '../support/netns.ts'

// dns/pair.ts, on hosts of its own. Where namespaces cannot be made it is skipped and says why.

const why = await whyNoNamespaces()
if (why !== undefined) test('a pair as DNS shows it', { skip: why })
else process.exitCode = await runInLab(`${import.meta.dirname}/dns/pair.ts`)
