/**
 * Parts a header value in which several credentials or challenges were joined by commas. They are full of commas
 * themselves (RFC 3261 section 7.3.1): a new one begins where a word is followed by another word, `Digest realm=…`.
 */
export function splitCredentials(value: string): string[] {
  const found: string[] = []
  let start = 0
  let quoted = false
  for (let i = 0; i < value.length; i++) {
    const c = value[i]
    if (quoted && c === '\\') i++
    else if (c === '"') quoted = !quoted
    else if (c === ',' && !quoted && /^\s*[A-Za-z0-9]+\s+[A-Za-z]/.test(value.slice(i + 1, i + 40))) {
      found.push(value.slice(start, i).trim())
      start = i + 1
    }
  }
  found.push(value.slice(start).trim())
  return found
}
