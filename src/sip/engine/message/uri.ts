// Temporary declarations of the API; to be replaced by the implementation.
/** A SIP, SIPS or tel URI in parts. Text parts are as received (escapes kept); `user` etc. unescape on demand. */
export interface Uri {
  scheme: string
  /** User part as received, without password; for tel: the number. Undefined when there is none. */
  user: string | undefined
  password: string | undefined
  /** Lower-case host, IPv6 without brackets; '' for tel and unknown schemes. */
  host: string
  port: number | undefined
  /** Parameters in order; names lower case, value undefined for a flag such as lr. */
  params: Map<string, string | undefined>
  /** Text after '?', as received, without it. */
  headers: string
  /** For a scheme that is not sip, sips or tel: everything after the colon. */
  opaque: string
}
/** Parses one URI; undefined when it is no valid URI. */
export declare function parseUri(text: string): Uri | undefined
export declare function formatUri(uri: Uri): string
/** RFC 3261 section 19.1.4. */
export declare function sameUri(a: Uri, b: Uri): boolean
/** Decodes %xx and UTF-8: what a person should read. */
export declare function unescapeUser(text: string): string
export declare function escapeUser(text: string): string
