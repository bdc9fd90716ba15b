/** The process of the way in: serves from the last table before it has heard of control. */
import { readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { isSteadError } from '../../base/index.ts'
import { chooseNetworkDriver } from '../../network/index.ts'
import { linkGateway, makeGateway, makeHaproxy } from '../roles/gateway.ts'
import { version } from '../version.ts'
import { openWayInCertificates } from '../way-in-certificates.ts'
import { claim, claimPath, isAlive, release, takeOver } from './claim.ts'
import { graceMs, type RoleContext } from './context.ts'

/** How long a gateway that was replaced serves what it has begun. */
const drainMs = 30_000

/** Between two attempts to have a port that the gateway before still holds for a moment. */
const retryMs = 200

export async function runGateway(context: RoleContext): Promise<void> {
  if (context.engine === 'haproxy') return runHaproxy(context)
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
  const plain =
    plainPort === null
      ? null
      : listenWhenFree(() => gateway.listen(plainPort, host, { tls: false }), leaving.signal, say)
  await stopped
  leaving.abort()
  // The successor speaks with control now.
  await link[Symbol.asyncDispose]()
  release(path)
  await plain
  await gateway.close()
  await certificates?.[Symbol.asyncDispose]()
}

/**
 * The same with HAProxy in front. It opens the port itself, and one HAProxy does not listen beside another's: the one before
 * lets go first, and a new connection may be refused for that moment.
 */
async function runHaproxy({ home, host, port, stopped, say }: RoleContext): Promise<void> {
  const path = claimPath(home, 'gateway')
  const directory = join(home.runDir, `haproxy-${process.pid}`)
  await sweepHaproxies(home.runDir)
  const gateway = makeHaproxy(chooseNetworkDriver(), directory, drainMs, say)
  const link = linkGateway(home, gateway, join(home.appDir, 'routes.json'), say)
  await takeOver(path, graceMs)
  claim(path, version)
  const leaving = new AbortController()
  const listening = listenWhenFree(() => gateway.listen(port, host), leaving.signal, say)
  await stopped
  leaving.abort()
  await link[Symbol.asyncDispose]()
  release(path)
  await listening
  await gateway.close()
  await rm(directory, { recursive: true, force: true })
}

/** Removes what gateways that were killed have left. */
async function sweepHaproxies(runDir: string): Promise<void> {
  for (const name of await readdir(runDir)) {
    const pid = /^haproxy-(\d+)$/.exec(name)?.[1]
    if (pid !== undefined && !isAlive(Number(pid))) await rm(join(runDir, name), { recursive: true, force: true })
  }
}

/** Listens as soon as the port can be had; what keeps it from that is said once. */
async function listenWhenFree(
  listen: () => Promise<unknown>,
  signal: AbortSignal,
  say: (text: string) => void,
): Promise<void> {
  for (let tries = 1; !signal.aborted; tries += 1) {
    try {
      await listen()
      return
    } catch (error) {
      if (!isSteadError(error)) throw error
      if (tries === Math.ceil(graceMs / retryMs)) say(`a port is not served yet: ${error.message} ${error.hint ?? ''}`)
    }
    await pause(retryMs, undefined, { signal }).catch(() => undefined)
  }
}
