/** Who is in a meeting, as far as its account says. */
export interface Person {
  user: string
  displayName: string
  moderator: boolean
}
