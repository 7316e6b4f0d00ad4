// What the bundler and JsSIP bring that TypeScript cannot see by itself.

declare module '*.css'

declare module 'events' {
  export class EventEmitter<M extends { [K in keyof M]: unknown[] } = Record<string, unknown[]>> {
    on<K extends keyof M>(name: K, listener: (...values: M[K]) => void): this
    off<K extends keyof M>(name: K, listener: (...values: M[K]) => void): this
  }
}
