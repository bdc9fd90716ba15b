/** The face of `transport`: the sockets that carry the protocol. Agents and gateways dial out; control listens. */
export type { Channel } from './channel.ts'
export { dialForever, listenAsOwnerOnly, listenForPeers } from './sockets.ts'
export type { DialOptions, ListenOptions, TransportAddress } from './sockets.ts'
