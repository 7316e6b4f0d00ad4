export const sources: string
/** Folder of the built files. */
export const target: string
export const mark: string
export function hashOfSources(): string
export function isBuilt(): boolean
