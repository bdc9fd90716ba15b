/** The way in on this machine: startable by itself. */
import { systemClock as clock, systemRandom as random } from '../../base/index.ts'
import { connectGateway, createGateway, type Gateway } from '../../gateway/index.ts'
import type { NetworkDriver } from '../../network/index.ts'
import type { Home } from '../home.ts'
import { controlAddress, localNode } from './local.ts'

/** Makes the way in, which listens nowhere yet. `closeMs`: how long its end waits for what is in flight. */
export function makeGateway(network: NetworkDriver, closeMs: number): Gateway {
  return createGateway({ connect: (endpoint) => network.connect(endpoint), limits: { closeMs }, clock, random })
}

/** Keeps a gateway in step with control. */
export function linkGateway(
  home: Home,
  gateway: Gateway,
  tablePath: string | null,
  onNotice: (text: string) => void,
): AsyncDisposable {
  return connectGateway({ name: localNode, gateway, tablePath, clock, random, onNotice }, controlAddress(home))
}
