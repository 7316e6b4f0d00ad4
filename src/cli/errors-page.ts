import { listRefusals } from '../errors.ts'

/** docs/errors.md, from the one list of refusals. */
export function errorsPage(): string {
  const rows = listRefusals().map(r => `| \`${r.code}\` | ${r.sip} | ${r.http} | ${r.reason} |`)
  return `# Errors

Generated from \`src/errors.ts\` by \`npm run docs\`. The code is stable; texts may change. Over HTTP an error is
\`{ "error": code, "message": text }\`; over SIP it is the status with that reason phrase. Anything that is not in this
list is a bug: status 500, and a log line that says where.

| code | SIP | HTTP | reason |
| --- | --- | --- | --- |
${rows.join('\n')}
`
}
