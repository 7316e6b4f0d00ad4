import { type Setting, sections, settings } from './paths.ts'

// docs/config.md and config/vaartha.yaml are written from the schema, so that neither can go stale.

const sectionOf = (setting: Setting) => setting.path.split('.').slice(0, -1).join('.')

function values(setting: Setting): string {
  const { type, enum: words, minimum, maximum } = setting.schema
  if (words !== undefined) return words.map(w => `\`${w}\``).join(', ')
  if (minimum !== undefined) return `${minimum} … ${maximum}`
  return type === 'array' ? 'list' : type === 'boolean' ? '`true`, `false`' : 'text'
}

function yamlValue(value: unknown): string {
  if (Array.isArray(value)) return value.length === 0 ? '[]' : `[${value.join(', ')}]`
  return value === '' ? "''" : String(value)
}

/** docs/config.md. */
export function configPage(): string {
  const lines = [
    '# Configuration',
    '',
    'Generated from `src/config/schema.ts` by `npm run docs`. Settings come from `config/vaartha.yaml` (or the file that',
    '`--config` or `VAARTHA_CONFIG` names) and from the environment, which wins. A list in the environment is separated',
    'by commas. Unknown settings are refused. Relative paths start at the folder of package.json.',
  ]
  for (const { path, description } of sections()) {
    const own = settings.filter(s => sectionOf(s) === path)
    if (own.length === 0) continue
    lines.push('', path === '' ? '## Top level' : `## ${path}`, '')
    if (path !== '') lines.push(description, '')
    lines.push('| setting | default | values | environment | meaning |', '| --- | --- | --- | --- | --- |')
    for (const s of own) {
      const cells = [
        `\`${s.path}\``,
        `\`${yamlValue(s.schema.default)}\``,
        values(s),
        `\`${s.variable}\``,
        s.schema.description ?? '',
      ]
      lines.push(`| ${cells.join(' | ').replaceAll('``', '')} |`)
    }
  }
  return `${lines.join('\n')}\n`
}

/** config/vaartha.yaml: every setting with its default, commented out. */
export function configSample(): string {
  const lines = [
    '# Vaartha works without a line of this file. Take the # off what you want to change; docs/config.md explains more.',
    '# Generated from src/config/schema.ts by `npm run docs -- --sample`; the server itself never writes it.',
  ]
  for (const { path, description } of sections()) {
    const depth = path === '' ? 0 : path.split('.').length
    const indent = '  '.repeat(depth)
    if (path !== '')
      lines.push('', `${'  '.repeat(depth - 1)}# ${description}`, `${'  '.repeat(depth - 1)}${path.split('.').at(-1)}:`)
    for (const s of settings.filter(s => sectionOf(s) === path)) {
      lines.push(
        `${indent}# ${s.schema.description}`,
        `${indent}# ${s.path.split('.').at(-1)}: ${yamlValue(s.schema.default)}`,
      )
    }
  }
  return `${lines.join('\n')}\n`
}
