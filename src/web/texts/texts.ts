import { de } from './de.ts'
import { en, type Texts } from './en.ts'

export type Key = keyof Texts
export type Say = (key: Key, values?: Readonly<Record<string, string | number>>) => string

/** A language is one file; it is named here and nowhere else. */
export const languages: Readonly<Record<string, Texts>> = { en, de }

/** The first language that is wished for and there is; English else. `wished` are tags as browsers tell them, `de-AT`. */
export function chooseLanguage(wished: readonly string[]): string {
  for (const tag of wished) {
    const language = tag.toLowerCase().split('-')[0] ?? ''
    if (languages[language] !== undefined) return language
  }
  return 'en'
}

/** Gives texts of one language with their `{…}` filled in. */
export function speak(language: string): Say {
  const texts = languages[language] ?? en
  return (key, values = {}) => texts[key].replace(/\{(\w+)\}/g, (_all, name: string) => String(values[name] ?? ''))
}

/** `95` seconds → `1:35`, `4000` → `1:06:40`. */
export function clock(seconds: number): string {
  const whole = Math.max(0, Math.floor(seconds))
  const [hours, minutes] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60]
  const two = (n: number) => String(n).padStart(2, '0')
  return hours > 0 ? `${hours}:${two(minutes)}:${two(whole % 60)}` : `${minutes}:${two(whole % 60)}`
}
