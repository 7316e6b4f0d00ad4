// drachtio-fsmrf brings no types; this is what freeswitch.ts uses of it.
declare module 'drachtio-fsmrf' {
  import type { EventEmitter } from 'node:events'
  import type { Server, Socket } from 'node:net'

  export default class Mrf {
    constructor(srf: object, options?: { customEvents?: string[] })
    connect(to: {
      address: string
      port: number
      secret: string
      listenAddress: string
      profile: string
    }): Promise<MediaServer>
  }

  export interface MediaServer extends EventEmitter {
    readonly conn: Connection
    /** The listener for the connections that FreeSWITCH makes for each channel. */
    readonly _server: { server: Server }
    api(command: string): Promise<string>
    createEndpoint(options: { remoteSdp: string }): Promise<Endpoint>
    disconnect(): void
  }

  export interface Connection {
    readonly socket: Socket
    prependListener(event: string, listener: () => void): void
    disconnect(): void
  }

  export interface Endpoint extends EventEmitter {
    readonly conn: Connection | null
    readonly dialog: EventEmitter & { remote: { sdp: string }; destroy(): Promise<unknown> }
    join(
      conference: string,
      options: { profile?: string; flags?: Record<string, boolean> },
    ): Promise<{ memberId: number; confUuid: string }>
    confMute(): Promise<string>
    confUnmute(): Promise<string>
  }

  export interface ConferenceEvent {
    getHeader(name: string): string | null
  }
}
