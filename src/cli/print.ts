import { renderUnicodeCompact } from 'uqr'

// What commands print. Data goes to stdout, remarks and errors to stderr, so that output can be piped.

export function say(text = ''): void {
  process.stdout.write(`${text}\n`)
}

export function remark(text: string): void {
  process.stderr.write(`${text}\n`)
}

export function sayJson(value: unknown): void {
  say(JSON.stringify(value, null, 2))
}

/** A QR code in half-block characters, for a terminal with either background. */
export function qrCode(text: string): string {
  return renderUnicodeCompact(text, { border: 2 })
}

/** Rows as columns that are as wide as they need to be; a line of its own when there is none. */
export function table(head: readonly string[], rows: readonly (readonly string[])[], none: string): string {
  if (rows.length === 0) return none
  const widths = head.map((title, i) => Math.max(title.length, ...rows.map(row => (row[i] ?? '').length)))
  const line = (cells: readonly string[]) =>
    cells
      .map((cell, i) => cell.padEnd(widths[i]!))
      .join('  ')
      .trimEnd()
  return [line(head), ...rows.map(line)].join('\n')
}

/** `95` → `1:35`, `4000` → `1:06:40`. */
export function duration(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds))
  const [h, m, s] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60]
  const two = (n: number) => String(n).padStart(2, '0')
  return h > 0 ? `${h}:${two(m)}:${two(s)}` : `${m}:${two(s)}`
}
