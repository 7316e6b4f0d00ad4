import { test } from 'node:test'
import { runInLab } from '../support/lab.ts'
import { whyNoNamespaces } from '../support/netns.ts'

// A server that changes its address, kill/moved.ts, on hosts of its own.

const why = await whyNoNamespaces()
if (why !== undefined) test('a server that changes its address', { skip: why })
else process.exitCode = await runInLab(`${import.meta.dirname}/kill/moved.ts`)
