import type Srf from 'drachtio-srf'

// What drachtio-srf keeps for itself and has no public way to: its connection to the engine.

export interface EngineSocket {
  once(event: 'close', listener: () => void): unknown
  destroy(): void
}

export interface Agent {
  wp?: {
    closing?: boolean
    reconnectVars?: { retryTimer: NodeJS.Timeout | null }
    /** Writes one frame and returns its message id. */
    send(socket: EngineSocket, message: string): string
  }
  mapServer: Map<
    EngineSocket,
    {
      authenticated: boolean
      /** Called with the fields of the `response` frame after the message id, and with what follows its first line. */
      pendingRequests: Map<string, (fields: string[], rest: string | undefined) => void>
    }
  >
}

/** Undefined before `connect` was called. */
export function agentOf(srf: Srf): Agent | undefined {
  return (srf as unknown as { _app: { client?: Agent } })._app.client
}
