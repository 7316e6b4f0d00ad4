export type Role = 'admin' | 'user'
export type Algorithm = 'SHA-256' | 'MD5'

/** A person. `created` is ISO 8601; `md5Seen` says that one of the phones has answered with MD5. */
export interface Account {
  readonly user: string
  readonly domain: string
  readonly displayName: string
  readonly enabled: boolean
  readonly roles: readonly Role[]
  readonly created: string
  readonly md5Seen: boolean
}

/** An account with what proves its password: H(user:domain:password) per algorithm in lower-case hex (RFC 7616 section 3.4.2). */
export interface Credentials extends Account {
  readonly ha1: Readonly<Record<Algorithm, string>>
  /** The same for phones that send `user@domain` as their user name. */
  readonly ha1WithDomain: Readonly<Record<Algorithm, string>>
}

export interface NewAccount {
  user: string
  domain: string
  displayName?: string
  roles?: readonly Role[]
  /** At least 10 characters; a strong one is made when it is left out. */
  password?: string
}

/**
 * The people who may use this server. Names are kept in lower case and found in any. Changing an unknown account is
 * refused with `not-found`; a store that does not answer with `store-unavailable`.
 */
export interface Accounts {
  /** Makes an account and returns its password, which is kept nowhere. Refuses `already-exists` and `bad-request`. */
  add(account: NewAccount): Promise<{ account: Account; password: string }>
  /** All accounts, or those of one domain, in the order of their names. */
  list(domain?: string): Promise<Account[]>
  get(user: string, domain: string): Promise<Account | undefined>
  /** For each request that is checked: answers at once when it can, and takes the same time for known and unknown names. */
  find(user: string, domain: string): Credentials | undefined | Promise<Credentials | undefined>
  /** Sets a given or a newly made password and returns it. */
  setPassword(user: string, domain: string, password?: string): Promise<string>
  setEnabled(user: string, domain: string, enabled: boolean): Promise<void>
  setDisplayName(user: string, domain: string, displayName: string): Promise<void>
  /** Notes that a phone of this account uses MD5; costs nothing when that is known. */
  noteMd5(user: string, domain: string): Promise<void>
  remove(user: string, domain: string): Promise<void>
}
