/** The process of the way in: serves from the last table before it has heard of control. */
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { isSteadError } from '../../base/index.ts'
import type { Gateway } from '../../gateway/index.ts'
import { chooseNetworkDriver } from '../../network/index.ts'
import { linkGateway, makeGateway } from '../roles/gateway.ts'
import { version } from '../version.ts'
import { openWayInCertificates } from '../way-in-certificates.ts'
import { claim, claimPath, release, takeOver } from './claim.ts'
import { graceMs, type RoleContext } from './context.ts'

/** How long a gateway that was replaced serves what it has begun. */
const drainMs = 30_000

/** Between two attempts to have the port of plain HTTP, which the gateway before still holds for a moment. */
const retryMs = 200

export async function runGateway(context: RoleContext): Promise<void> {
  const { home, host, port, tls, plainPort, fd, stopped, say } = context
  const path = claimPath(home, 'gateway')
  const certificates = tls === null ? null : await openWayInCertificates(tls, home, say)
  const gateway = makeGateway(chooseNetworkDriver(), { closeMs: drainMs, host, certificates, onNotice: say })
  // First the table, then the door: whoever comes in finds the way.
  const link = linkGateway(home, gateway, join(home.appDir, 'routes.json'), say)
  await gateway.listen(port, host, fd === null ? {} : { fd })
  await takeOver(path, graceMs)
  claim(path, version)
  const leaving = new AbortController()
  const plain = plainPort === null ? null : listenPlain(gateway, plainPort, host, leaving.signal, say)
  await stopped
  leaving.abort()
  // The successor speaks with control now.
  await link[Symbol.asyncDispose]()
  release(path)
  await plain
  await gateway.close()
  await certificates?.[Symbol.asyncDispose]()
}

/** Listens on the port of plain HTTP as soon as it can be had; what keeps it from that is said once. */
async function listenPlain(
  gateway: Gateway,
  port: number,
  host: string,
  signal: AbortSignal,
  say: (text: string) => void,
): Promise<void> {
  for (let tries = 1; !signal.aborted; tries += 1) {
    try {
      await gateway.listen(port, host, { tls: false })
      return
    } catch (error) {
      if (!isSteadError(error)) throw error
      if (tries === Math.ceil(graceMs / retryMs))
        say(`plain http is not served yet: ${error.message} ${error.hint ?? ''}`)
    }
    await pause(retryMs, undefined, { signal }).catch(() => undefined)
  }
}
