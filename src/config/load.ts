import { readFileSync } from 'node:fs'
import { dirname, isAbsolute, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Ajv } from 'ajv'
import { type Document, isMap, LineCounter, parseDocument } from 'yaml'
import { Refusal } from '../errors.ts'
import { nearest, type Setting, sections, settings } from './paths.ts'
import { type Config, configSchema } from './schema.ts'

/** The folder of package.json: relative paths in the configuration start here, wherever a command was typed. */
export const projectRoot = resolve(dirname(fileURLToPath(import.meta.url)), '../..')

export interface Loaded {
  config: Config
  /** The file that was read; undefined when there was none and the defaults hold. */
  file: string | undefined
}

/**
 * Reads the configuration once: defaults, then the file (`VAARTHA_CONFIG`, or config/vaartha.yaml when it is there),
 * then `VAARTHA_…` variables. Throws Refusal('bad-config') that names every mistake with its place.
 */
export function loadConfig(environment: NodeJS.ProcessEnv, given?: string): Loaded {
  const named = given ?? environment['VAARTHA_CONFIG']
  const file = named === undefined ? resolve(projectRoot, 'config/vaartha.yaml') : resolve(named)
  const text = readText(file, named !== undefined)
  const { values, problems } = text === undefined ? { values: {}, problems: [] } : readYaml(text, file)
  problems.push(...applyEnvironment(values, environment))
  if (problems.length > 0) throw new Refusal('bad-config', problems.join('\n'))
  return { config: complete(values), file: text === undefined ? undefined : file }
}

/** A whole, frozen configuration from some of its values. Throws Refusal('bad-config') when they do not fit the schema. */
export function complete(values: object): Config {
  const whole = structuredClone(values) as Config
  const problems = fill(whole, path => path)
  if (problems.length === 0) problems.push(...contradictions(whole))
  if (problems.length > 0) throw new Refusal('bad-config', problems.join('\n'))
  return deepFreeze({ ...whole, data: isAbsolute(whole.data) ? whole.data : resolve(projectRoot, whole.data) })
}

/** Settings that are each right, and wrong together. */
function contradictions({ cluster, sip }: Config): string[] {
  if (cluster.name === '' || cluster.replication === 'none' || sip.engine === 'embedded') return []
  const why =
    'a drachtio-server answers BYE and UPDATE of dialogs that it does not know with 481 by itself and cannot be given any'
  return [`cluster.replication: ${cluster.replication} does not go with sip.engine: drachtio, because ${why}; use none`]
}

function readText(file: string, mustExist: boolean): string | undefined {
  try {
    return readFileSync(file, 'utf8')
  } catch (cause) {
    if (!mustExist && (cause as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw new Refusal('bad-config', `${file}: cannot be read: ${(cause as Error).message}`, { cause })
  }
}

function readYaml(text: string, file: string): { values: object; problems: string[] } {
  const lines = new LineCounter()
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false })
  const at = (offset: number) => `${file}:${lines.linePos(offset).line}`
  if (document.errors.length > 0) {
    return { values: {}, problems: document.errors.map(e => `${at(e.pos[0])}: ${e.message}`) }
  }
  const values: unknown = document.toJS() ?? {}
  if (typeof values !== 'object' || Array.isArray(values)) {
    return { values: {}, problems: [`${file}:1: must hold settings, such as 'domain: example.org'`] }
  }
  dropEmptySections(values as Record<string, unknown>)
  const problems = fill(structuredClone(values), path => place(document, path, at, file))
  return { values: values as object, problems }
}

/** `sip:` with nothing under it is null in YAML; all its settings being commented out is no mistake. */
function dropEmptySections(values: Record<string, unknown>, path = ''): void {
  for (const [key, value] of Object.entries(values)) {
    const here = path === '' ? key : `${path}.${key}`
    if (value === null && sections().some(s => s.path === here)) delete values[key]
    else if (typeof value === 'object' && value !== null && !Array.isArray(value)) {
      dropEmptySections(value as Record<string, unknown>, here)
    }
  }
}

/** `file:line: path` of a dotted path in the document: the line of its key, or of the nearest key above it. */
function place(document: Document, path: string, at: (offset: number) => string, file: string): string {
  let node: unknown = document.contents
  let found = `${file}:1`
  for (const key of path.split('.')) {
    if (!isMap(node)) break
    const pair = node.items.find(item => String(item.key) === key)
    const range = (pair?.key as { range?: [number, number, number] } | undefined)?.range
    if (pair === undefined || range === undefined) break
    found = at(range[0])
    node = pair.value
  }
  return `${found}: ${path}`
}

// The schema is our own and right, so the schema of schemas need not be read to check it.
const validate = new Ajv({ allErrors: true, useDefaults: true, meta: false, validateSchema: false }).compile(
  configSchema,
)

/** Puts the defaults in and returns every mistake, one line each; `where` names the place of a dotted path. */
function fill(values: unknown, where: (path: string) => string): string[] {
  validate(values)
  const problems = new Map<string, string>()
  for (const { instancePath, keyword, message, params } of validate.errors ?? []) {
    const keys = instancePath.split('/').slice(1)
    if (keyword === 'additionalProperties') keys.push(params['additionalProperty'])
    const path = keys.join('.')
    if (problems.has(path)) continue
    problems.set(
      path,
      keyword === 'additionalProperties' ? unknownKey(path, where) : wrongValue(path, message ?? '', where),
    )
  }
  return [...problems.values()]
}

function unknownKey(path: string, where: (path: string) => string): string {
  const siblings = [...settings.map(s => s.path), ...sections().map(s => s.path)].filter(known => known !== '')
  const near = nearest(path, siblings)
  return `${where(path)}: unknown setting${near === undefined ? '' : `; did you mean '${near}'?`}`
}

function wrongValue(path: string, message: string, where: (path: string) => string): string {
  const schema = settings.find(s => s.path === path)?.schema
  return `${where(path)}: ${schema?.enum === undefined ? message : `must be one of ${schema.enum.join(', ')}`}`
}

// Variables that belong to the program but are no settings.
const otherVariables = new Set(['VAARTHA_CONFIG', 'VAARTHA_URL', 'VAARTHA_TOKEN'])

/** Puts `VAARTHA_…` variables into `values`; returns the mistakes. */
function applyEnvironment(values: object, environment: NodeJS.ProcessEnv): string[] {
  return Object.entries(environment).flatMap(([variable, text]) => {
    if (!variable.startsWith('VAARTHA_') || text === undefined || otherVariables.has(variable)) return []
    const setting = settings.find(s => s.variable === variable)
    if (setting === undefined) {
      const near = nearest(
        variable,
        settings.map(s => s.variable),
      )
      return [`environment: ${variable}: unknown setting${near === undefined ? '' : `; did you mean ${near}?`}`]
    }
    put(values as Record<string, unknown>, setting, text)
    return []
  })
}

function put(values: Record<string, unknown>, setting: Setting, text: string): void {
  const keys = setting.path.split('.')
  let section = values
  for (const key of keys.slice(0, -1)) section = (section[key] ??= {}) as Record<string, unknown>
  section[keys.at(-1)!] = convert(setting, text)
}

/** Text of a variable as the schema's type; what does not convert is left as it is, for the schema to refuse. */
function convert(setting: Setting, text: string): unknown {
  const { type } = setting.schema
  if (type === 'array')
    return text
      .split(',')
      .map(part => part.trim())
      .filter(part => part !== '')
  if (type === 'boolean') return text === 'true' ? true : text === 'false' ? false : text
  if (type === 'integer') return /^-?\d+$/.test(text.trim()) ? Number(text) : text
  return text
}

function deepFreeze<T>(value: T): T {
  if (typeof value === 'object' && value !== null) {
    for (const child of Object.values(value)) deepFreeze(child)
    Object.freeze(value)
  }
  return value
}

/** The version that package.json names. */
export function projectVersion(): string {
  version ??= (JSON.parse(readFileSync(resolve(projectRoot, 'package.json'), 'utf8')) as { version: string }).version
  return version
}
let version: string | undefined
