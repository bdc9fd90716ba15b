/**
 * All platforms that keep something under the state directory of this machine, running or not: bundles are shared between
 * them, so what nobody needs can only be told by asking all.
 */
import { existsSync } from 'node:fs'
import { messageOf, SteadError, systemClock } from '../base/index.ts'
import { neededBundlesIn } from '../control/index.ts'
import { operatorClient } from '../operator/index.ts'
import { openSqliteStore } from '../store/index.ts'
import { allHomes, type Home } from './home.ts'

/** Every bundle that a record of any platform names. Throws `cli.unknown-needs` when one of them cannot be told. */
export async function neededBundles(): Promise<Set<string>> {
  const needed = new Set<string>()
  for (const home of allHomes()) for (const digest of await neededIn(home)) needed.add(digest)
  return needed
}

async function neededIn(home: Home): Promise<readonly string[]> {
  try {
    const operator = await operatorClient(home.operatorSocket)
    const told = operator === null ? null : await operator.bundles()
    if (told !== null) return told
    if (!existsSync(home.storePath)) return []
    const store = await openSqliteStore({ path: home.storePath, clock: systemClock })
    try {
      return [...(await neededBundlesIn(store))]
    } finally {
      await store.close()
    }
  } catch (cause) {
    throw new SteadError({
      code: 'cli.unknown-needs',
      message: `what ${home.appDir} needs cannot be told: ${messageOf(cause)}`,
      hint: 'Nothing was removed. Try again when it runs, or has ended.',
      retry: 'later',
      cause,
    })
  }
}
