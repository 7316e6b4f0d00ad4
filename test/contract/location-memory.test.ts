import { describe } from 'node:test'
import { createMemoryStore } from '../../src/location/memory.ts'
import { locationStoreContract } from './location-store.contract.ts'

describe('location store in memory', () => {
  locationStoreContract(async clock => createMemoryStore({ now: () => clock.now }))
})
