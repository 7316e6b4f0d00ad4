export const nodeFlags: readonly string[]
export const nodeEnvironment: NodeJS.ProcessEnv
