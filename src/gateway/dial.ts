/** Opening a connection to an instance: it is open in time, or there is one error, and nothing is left behind. */
import type { Socket } from 'node:net'
import { SteadError } from '../base/index.ts'
import type { Clock } from '../base/index.ts'
import type { Endpoint } from '../network/index.ts'
import type { RouteTarget } from '../protocol/index.ts'
import type { GatewayLimits } from './limits.ts'

export interface DialContext {
  readonly clock: Clock
  readonly limits: GatewayLimits
  readonly connect: (endpoint: Endpoint) => Socket
}

/** Calls back once: with a connected socket, or with the error (`gateway.connect-timeout`, or the system's). */
export function dial(
  { clock, limits, connect }: DialContext,
  target: RouteTarget,
  callback: (...result: [error: null, socket: Socket] | [error: Error, socket: null]) => void,
): void {
  const socket = connect(target.endpoint)
  const settle = (error: Error | null): void => {
    timer[Symbol.dispose]()
    socket.removeListener('connect', onConnect).removeListener('error', settle).removeListener('close', onClose)
    if (error === null) return callback(null, socket)
    socket.on('error', () => undefined).destroy()
    callback(error, null)
  }
  const onConnect = (): void => settle(null)
  const onClose = (): void => settle(new Error('the connection was closed before it was open'))
  const timer = clock.after(limits.connectMs, () => settle(connectTimeout(target.instance, limits.connectMs)))
  socket.setNoDelay(true)
  socket.once('connect', onConnect).once('error', settle).once('close', onClose)
}

function connectTimeout(instance: string, connectMs: number): SteadError {
  return new SteadError({
    code: 'gateway.connect-timeout',
    message: `Instance ${instance} did not answer the attempt to connect within ${connectMs} ms.`,
    hint: 'See whether its node is reachable.',
    retry: 'later',
  })
}
