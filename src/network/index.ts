/** The face of `network`: where instances' sockets live, and how streams get in and out. */
export { edgeAddress, edgeNetwork } from './network.ts'
export type { Endpoint, NetworkCapabilities, NetworkDriver, Place } from './network.ts'
export { openForwarder, streamsMax } from './forwarder.ts'
export type { Forwarder, ForwarderOptions, HandOver, Target } from './forwarder.ts'
export { chooseNetworkDriver } from './choose.ts'
export { createHostDriver } from './drivers/host.ts'
export { createNetnsDriver } from './drivers/netns.ts'
export { openLibc } from './drivers/libc.ts'
