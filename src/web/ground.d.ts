// What the bundler and JsSIP bring that TypeScript cannot see by itself.

declare module '*.css'

declare module 'events' {
  export class EventEmitter {
    on(name: string, listener: (...args: never[]) => void): this
    off(name: string, listener: (...args: never[]) => void): this
    once(name: string, listener: (...args: never[]) => void): this
    emit(name: string, ...args: unknown[]): boolean
  }
}
