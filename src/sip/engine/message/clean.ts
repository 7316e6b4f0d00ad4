import { bytes, isAll, TOKEN } from './syntax.ts'

// What an application gives to be written. Text is written byte by character, so a character above U+00FF would become
// another one (U+010A a line feed), and a line break would begin a header of its own: neither may get into a message.

/**
 * A header value or reason phrase as byte text on one line. A character above U+00FF shows that the text is no byte text
 * yet, so the whole of it becomes UTF-8.
 */
export function cleanValue(value: string): string {
  if (!/[\0\r\n\u0100-\uffff]/.test(value)) return value
  const text = /[\u0100-\uffff]/.test(value) ? bytes(value) : value
  return text.replace(/[\0\r\n]+/g, ' ').trim()
}

/** A Request-URI as byte text: escapes spaces, which would end it, and drops control characters, which it cannot hold. */
export function cleanUri(uri: string): string {
  if (!/[^\x21-\x7e\x80-\xff]/.test(uri)) return uri
  const text = /[\u0100-\uffff]/.test(uri) ? bytes(uri) : uri
  return text.replace(/[\x00-\x1f\x7f]+/g, '').replaceAll(' ', '%20')
}

/** A method or header name: what may not stand in one becomes '-'. */
export function cleanToken(name: string): string {
  return isAll(TOKEN, name) ? name : name.replace(/[^\w.!%*+`'~-]/g, '-') || '-'
}
