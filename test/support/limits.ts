import type { Limits } from '../../src/config/schema.ts'

/** The limits that a server has unless it is told otherwise. */
export const limits: Limits = {
  messageBytes: 65535,
  headerBytes: 8192,
  headers: 128,
  values: 64,
  uriBytes: 2048,
  parameters: 64,
}
