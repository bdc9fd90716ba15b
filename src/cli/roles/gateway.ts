/** The way in on this machine: startable by itself. */
import { existsSync } from 'node:fs'
import type { Socket } from 'node:net'
import { SteadError, systemClock as clock, systemRandom as random } from '../../base/index.ts'
import type { CertificateDriver } from '../../certificates/index.ts'
import {
  connectGateway,
  createGateway,
  type Gateway,
  type GatewayEngine,
  HaproxyGateway,
  haproxyProgram,
} from '../../gateway/index.ts'
import type { Endpoint, NetworkDriver } from '../../network/index.ts'
import type { Home } from '../home.ts'
import { controlAddress, localNode } from './local.ts'

export interface WayIn {
  /** How long its end waits for what is in flight. */
  readonly closeMs: number
  /** Address of ports that routes for TCP open. */
  readonly host: string
  /** Where it has its certificates; with null it speaks no TLS. They are told of every table's hosts by the way in itself. */
  readonly certificates: CertificateDriver | null
  readonly onNotice: (text: string) => void
}

/** Makes the way in, which listens nowhere yet. */
export function makeGateway(network: NetworkDriver, { closeMs, host, certificates, onNotice }: WayIn): Gateway {
  const connect = (endpoint: Endpoint): Socket => network.connect(endpoint)
  const secure = certificates === null ? {} : { certificates }
  return createGateway({ connect, ...secure, streamHost: host, onNotice, limits: { closeMs }, clock, random })
}

/**
 * Makes the way in that a HAProxy carries, in a directory of its own that must not be another gateway's. Throws
 * `cli.no-haproxy` when the machine has none.
 */
export function makeHaproxy(
  network: NetworkDriver,
  directory: string,
  closeMs: number,
  onNotice: (text: string) => void,
): GatewayEngine {
  if (!existsSync(haproxyProgram)) {
    throw new SteadError({
      code: 'cli.no-haproxy',
      message: `there is no HAProxy at ${haproxyProgram}`,
      hint: 'Install it (on Debian: apt-get install haproxy), or leave out --engine.',
    })
  }
  const connect = (endpoint: Endpoint): Socket => network.connect(endpoint)
  return new HaproxyGateway({ connect, directory, onNotice, limits: { closeMs }, clock })
}

/** Keeps a gateway in step with control. */
export function linkGateway(
  home: Home,
  gateway: GatewayEngine,
  tablePath: string | null,
  onNotice: (text: string) => void,
): AsyncDisposable {
  return connectGateway({ name: localNode, gateway, tablePath, clock, random, onNotice }, controlAddress(home))
}
