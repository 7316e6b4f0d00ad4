import { createContext, useContext } from 'react'
import type { Phone } from './phone.ts'
import type { Say } from './texts/texts.ts'

export interface World {
  phone: Phone
  say: Say
  language: string
  setLanguage(language: string): void
}

export const WorldContext = createContext<World | undefined>(undefined)

/** The phone and its language, for every screen. */
export function useWorld(): World {
  return useContext(WorldContext) as World
}
