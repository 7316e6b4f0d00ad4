// A reader of conference documents (RFC 4575), written apart from what writes them: a strict little XML parser, and a
// roster that partial documents are applied to.

export interface Node {
  name: string
  attributes: Record<string, string>
  children: Node[]
  text: string
}

const entities: Record<string, string> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'" }

function plain(text: string): string {
  if (/[<>]/.test(text)) throw new Error(`a bare sign in ${text}`)
  return text.replace(/&([^;]*);?/g, (_all, name: string) => {
    const sign = entities[name]
    if (sign === undefined) throw new Error(`unknown entity &${name};`)
    return sign
  })
}

/** Parses a document; throws for anything that is not well-formed. */
export function parseXml(text: string): Node {
  const body = text.replace(/^<\?xml [^?]*\?>\s*/, '').trim()
  const root: Node = { name: '', attributes: {}, children: [], text: '' }
  const open = [root]
  let at = 0
  const token = /<(\/?)([\w:-]+)((?:\s+[\w:-]+="[^"<]*")*)\s*(\/?)>|([^<]+)/y
  while (at < body.length) {
    token.lastIndex = at
    const found = token.exec(body)
    if (found === null) throw new Error(`not well-formed at: ${body.slice(at, at + 80)}`)
    at = token.lastIndex
    const [, closing, name = '', attributes = '', empty, words] = found
    const parent = open.at(-1)!
    if (words !== undefined) parent.text += plain(words)
    else if (closing) {
      if (open.pop()!.name !== name) throw new Error(`</${name}> closes <${parent.name}>`)
    } else {
      const node: Node = { name, attributes: {}, children: [], text: '' }
      for (const [, key = '', value = ''] of attributes.matchAll(/([\w:-]+)="([^"]*)"/g)) {
        if (key in node.attributes) throw new Error(`${key} twice in <${name}>`)
        node.attributes[key] = plain(value)
      }
      parent.children.push(node)
      if (!empty) open.push(node)
    }
  }
  if (open.length !== 1 || root.children.length !== 1) throw new Error('not one whole document')
  return root.children[0]!
}

export const child = (node: Node | undefined, name: string): Node | undefined =>
  node?.children.find(one => one.name === name)

export interface SeenRoster {
  version: number
  active: boolean
  locked: boolean
  /** By AOR. */
  users: Map<string, Node>
  topology: Record<string, string>
  meeting: Record<string, string>
  speaker: string | undefined
}

/** The roster after one more document; throws when a version is missing or a partial one comes first. */
export function applyDocument(before: SeenRoster | undefined, text: string): SeenRoster {
  const root = parseXml(text)
  const partial = root.attributes['state'] === 'partial'
  const version = Number(root.attributes['version'])
  if (partial && before === undefined) throw new Error('a partial document came first')
  if (partial && version !== before!.version + 1) throw new Error(`version ${version} after ${before!.version}`)
  const old = partial ? before : undefined
  const users = new Map(old?.users)
  for (const user of child(root, 'users')?.children ?? []) {
    const entity = user.attributes['entity'] ?? ''
    if (user.attributes['state'] === 'deleted') users.delete(entity)
    else users.set(entity, user)
  }
  const state = child(root, 'conference-state')
  const speaker = child(root, 'v:speaker')
  return {
    version,
    users,
    active: state ? child(state, 'active')?.text === 'true' : (old?.active ?? false),
    locked: state ? child(state, 'locked')?.text === 'true' : (old?.locked ?? false),
    topology: child(root, 'v:topology')?.attributes ?? old?.topology ?? {},
    meeting: child(root, 'v:meeting')?.attributes ?? old?.meeting ?? {},
    speaker: speaker ? speaker.attributes['member'] : old?.speaker,
  }
}

/** Member id → status of the endpoint, for who is in. */
export function membersOf(roster: SeenRoster): Map<string, string> {
  const found = new Map<string, string>()
  for (const user of roster.users.values()) {
    for (const endpoint of user.children.filter(one => one.name === 'endpoint')) {
      const member = child(endpoint, 'v:member')
      if (member) found.set(member.attributes['id'] ?? '', child(endpoint, 'status')?.text ?? '')
    }
  }
  return found
}

/** URI of the endpoint of a member; '' when there is none. */
export function endpointOf(roster: SeenRoster, member: string): string {
  for (const user of roster.users.values()) {
    for (const endpoint of user.children) {
      if (child(endpoint, 'v:member')?.attributes['id'] === member) return endpoint.attributes['entity'] ?? ''
    }
  }
  return ''
}
