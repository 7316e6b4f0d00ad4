import { describe } from 'node:test'
import { createMemoryStore } from '../../../src/location/memory.ts'
import { watchdogContract } from '../../contract/watchdog.contract.ts'

describe('watchdog over the memory store', { concurrency: true }, () => {
  watchdogContract(async now => createMemoryStore({ now }))
})
