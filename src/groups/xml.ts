// A writer for small XML documents: what comes out is well-formed whatever goes in.

/** XML that is written already. */
export type Xml = string & { readonly xml?: true }

type Attributes = Readonly<Record<string, string | number | boolean | undefined>>

/** An element; attributes that are undefined are left out. Children are Xml: text has to pass `text` first. */
export function element(name: string, attributes: Attributes, ...children: readonly Xml[]): Xml {
  let start = `<${name}`
  for (const [key, value] of Object.entries(attributes)) {
    if (value !== undefined) start += ` ${key}="${text(String(value))}"`
  }
  return children.length === 0 ? `${start}/>` : `${start}>${children.join('')}</${name}>`
}

const signs: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&apos;' }
// What XML 1.0 section 2.2 does not allow at all, half surrogate pairs included.
const illegal = /[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\u{10000}-\u{10ffff}]/gu

/** Text of an element or attribute. */
export function text(value: string): Xml {
  return value.replace(illegal, '\ufffd').replace(/[&<>"']/g, sign => signs[sign]!)
}
