/** The process of the way in: serves from the last table before it has heard of control. */
import { join } from 'node:path'
import { chooseNetworkDriver } from '../../network/index.ts'
import { linkGateway, makeGateway } from '../roles/gateway.ts'
import { version } from '../version.ts'
import { claim, claimPath, release, takeOver } from './claim.ts'
import { graceMs, type RoleContext } from './role.ts'

/** How long a gateway that was replaced serves what it has begun. */
const drainMs = 30_000

export async function runGateway({ home, host, port, fd, stopped, say }: RoleContext): Promise<void> {
  const path = claimPath(home, 'gateway')
  const gateway = makeGateway(chooseNetworkDriver(), drainMs)
  // First the table, then the door: whoever comes in finds the way.
  const link = linkGateway(home, gateway, join(home.appDir, 'routes.json'), say)
  await gateway.listen(port, host, fd)
  await takeOver(path, graceMs)
  claim(path, version)
  await stopped
  // The successor speaks with control now.
  await link[Symbol.asyncDispose]()
  release(path)
  await gateway.close()
}
