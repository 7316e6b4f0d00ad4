import { describe } from 'node:test'
import { createMemoryStore } from '../../../src/location/memory.ts'
import { registrarContract } from '../../contract/registrar.contract.ts'

describe('registrar on the memory store', () => {
  registrarContract(async clock => createMemoryStore({ now: () => clock.now }), 300)
})
