// JSON schemas as plain objects that TypeScript knows the type of. They cost nothing at run time.

export interface JsonSchema {
  type?: string
  description?: string
  default?: unknown
  minimum?: number
  maximum?: number
  minLength?: number
  maxLength?: number
  enum?: readonly string[]
  items?: JsonSchema
  properties?: Record<string, JsonSchema>
  required?: string[]
  additionalProperties?: boolean | JsonSchema
  anyOf?: JsonSchema[]
}

declare const described: unique symbol
// A key that no validator sees.
const leftOut = Symbol('may be left out')

/** A JSON schema of values of type `T`. */
export interface Schema<T> extends JsonSchema {
  readonly [described]?: T
}
/** The schema of a property that may be left out. */
export interface OptionalSchema<T> extends Schema<T> {
  readonly [leftOut]: true
}

/** The type that a schema describes. */
export type Static<S> = S extends Schema<infer T> ? T : never

type Properties = Record<string, Schema<unknown>>
type OptionalKeys<P> = { [K in keyof P]: P[K] extends OptionalSchema<unknown> ? K : never }[keyof P]
type Flat<T> = { [K in keyof T]: T[K] }
type ObjectOf<P> = Flat<
  { [K in Exclude<keyof P, OptionalKeys<P>>]: Static<P[K]> } & { [K in OptionalKeys<P>]?: Static<P[K]> }
>

export const string = (more: JsonSchema = {}): Schema<string> => ({ type: 'string', ...more })
export const boolean = (more: JsonSchema = {}): Schema<boolean> => ({ type: 'boolean', ...more })
export const number = (more: JsonSchema = {}): Schema<number> => ({ type: 'number', ...more })
export const integer = (more: JsonSchema = {}): Schema<number> => ({ type: 'integer', ...more })
export const nothing = (): Schema<null> => ({ type: 'null' })

/** One of a few words. */
export const word = <const W extends string>(words: readonly W[], more: JsonSchema = {}): Schema<W> => ({
  enum: words,
  ...more,
})

export const array = <T>(items: Schema<T>, more: JsonSchema = {}): Schema<T[]> => ({ type: 'array', items, ...more })

/** An object with any keys and values of one kind. */
export const record = <T>(values: Schema<T>): Schema<Record<string, T>> => ({
  type: 'object',
  additionalProperties: values,
})

export const nullable = <T>(schema: Schema<T>, more: JsonSchema = {}): Schema<T | null> => ({
  anyOf: [schema, nothing()],
  ...more,
})

export const optional = <T>(schema: Schema<T>): OptionalSchema<T> => ({ ...schema, [leftOut]: true })

/** An object with these properties; more of them are refused only with `closed`. */
export function object<P extends Properties>(properties: P, more: JsonSchema = {}): Schema<ObjectOf<P>> {
  const required = Object.keys(properties).filter(key => !(leftOut in properties[key]!))
  return { type: 'object', properties, ...(required.length === 0 ? {} : { required }), ...more }
}

/** For `object`: a key that the schema does not name is a mistake. */
export const closed = { additionalProperties: false }
