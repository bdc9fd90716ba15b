/** Every bound the gateway keeps, with its default. Nothing here may be infinite: a number that is reached has an answer. */

export interface GatewayLimits {
  /** All headers of a request, bytes: 431 above. */
  readonly headerBytesMax: number
  /** Request body, bytes: 413 above. A route may say otherwise. */
  readonly bodyBytesMax: number
  /** Open client connections, and those of one address: 503 above. */
  readonly connectionsMax: number
  readonly addressConnectionsMax: number
  /** Requests in flight or waiting in the whole gateway: 503 above. */
  readonly requestsMax: number
  /** Requests in flight to one instance; above, they wait. A route may say otherwise. */
  readonly instanceRequestsMax: number
  /** Requests waiting in one route: 503 above. A route may say otherwise. */
  readonly queueMax: number
  /** How long a request waits for a place: 503 after. A route may say otherwise. */
  readonly queueMs: number
  /** Requests and WebSockets that one route holds while it has no instances and says `holdMs`: 503 above. */
  readonly heldMax: number
  /** Open WebSockets in the whole gateway: 503 above. */
  readonly tunnelsMax: number
  /** Bytes of a TLS ClientHello before it is taken for none. */
  readonly helloBytesMax: number
  /** For a TLS handshake. */
  readonly handshakeMs: number
  /** Of one HTTP/2 connection: streams at a time, headers of one request, and memory in megabytes (10^6), beyond which it gets no more streams. */
  readonly sessionStreamsMax: number
  readonly headerPairsMax: number
  readonly sessionMemoryMegabytesMax: number
  /** For the client to send the head of a request: 408 after. */
  readonly headersMs: number
  /** How often the head timeout is looked at. */
  readonly checkMs: number
  /** A kept-alive client connection without a request. */
  readonly idleMs: number
  /** For the next `bodyBytesMin` bytes of a request body, or its end: 408 after. */
  readonly bodyIdleMs: number
  /** So that a body which comes a byte at a time holds no place for hours. */
  readonly bodyBytesMin: number
  /** A client that takes nothing of a response is cut off after this. */
  readonly stallMs: number
  /** How long, and how many bytes, an answered upload is still read so that its sender sees the answer. */
  readonly lingerMs: number
  readonly lingerBytesMax: number
  /** To open a connection to an instance: 504 after. */
  readonly connectMs: number
  /** From the request being sent to the head of the response: 504 after. A route may say otherwise. */
  readonly responseMs: number
  /** Between two pieces of a response body: cut off after. */
  readonly streamIdleMs: number
  /** An unused connection to an instance. Shorter than what servers keep, so that a request seldom meets a closing one. */
  readonly upstreamIdleMs: number
  /** An instance that refused a connection is passed over this long when another one can answer. */
  readonly restMs: number
  /** Requests that may be sent a second time, as a share of all of the route in the window, and how many in any case. */
  readonly retryShare: number
  readonly retryFloor: number
  readonly retryWindowMs: number
  /** Failures in a row after which an instance gets no requests for a while. */
  readonly ejectFailures: number
  /** The same by share of failures, when the window has at least `ejectRequestsMin` requests. */
  readonly ejectShare: number
  readonly ejectRequestsMin: number
  readonly ejectWindowMs: number
  /** How long the first time, doubling up to how long at most. */
  readonly ejectMs: number
  readonly ejectMsMax: number
  /** When a smaller share than this is healthy, all instances are asked again. */
  readonly healthyShareMin: number
  /** Answers that are compressed at a time; more pass as they are. Each takes up to a megabyte. */
  readonly compressionsMax: number
  /** How long a piece of an answer may stay in the compressor when no more comes. */
  readonly flushMs: number
  /** An instance has left the table: its WebSockets are told to go (1001) after this. */
  readonly drainMs: number
  /** An instance has left the table: whatever is still in flight is cut off after this. */
  readonly cutMs: number
  /** `close()`: requests in flight get this long. */
  readonly closeMs: number
  /** A WebSocket that was told to go gets this long to say goodbye. */
  readonly goodbyeMs: number
}

export const defaultLimits: GatewayLimits = {
  headerBytesMax: 16 * 1024,
  bodyBytesMax: 1024 * 1024 * 1024,
  connectionsMax: 10_000,
  addressConnectionsMax: 5_000,
  requestsMax: 4096,
  instanceRequestsMax: 256,
  queueMax: 256,
  queueMs: 5_000,
  heldMax: 2_048,
  tunnelsMax: 10_000,
  helloBytesMax: 16 * 1024,
  handshakeMs: 10_000,
  sessionStreamsMax: 128,
  headerPairsMax: 256,
  sessionMemoryMegabytesMax: 16,
  headersMs: 10_000,
  checkMs: 1_000,
  idleMs: 60_000,
  bodyIdleMs: 30_000,
  bodyBytesMin: 1024,
  stallMs: 60_000,
  lingerMs: 2_000,
  lingerBytesMax: 16 * 1024 * 1024,
  connectMs: 3_000,
  responseMs: 60_000,
  streamIdleMs: 300_000,
  upstreamIdleMs: 1_000,
  restMs: 1_000,
  retryShare: 0.2,
  retryFloor: 10,
  retryWindowMs: 10_000,
  ejectFailures: 5,
  ejectShare: 0.5,
  ejectRequestsMin: 20,
  ejectWindowMs: 10_000,
  ejectMs: 1_000,
  ejectMsMax: 60_000,
  healthyShareMin: 0.25,
  compressionsMax: 64,
  flushMs: 10,
  drainMs: 10_000,
  cutMs: 60_000,
  closeMs: 10_000,
  goodbyeMs: 2_000,
}
