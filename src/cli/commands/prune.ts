/** `stead prune`: removes bundles and runtimes that nothing needs. */
import { type BundleStore, createBundleStore, type Unused } from '../../artifact/index.ts'
import { systemClock } from '../../base/index.ts'
import { parseDuration } from '../../model/index.ts'
import { type Command, helpOf, usage } from '../command.ts'
import { exitCodes } from '../exit-codes.ts'
import { bundlesDir } from '../home.ts'
import { neededBundles } from '../homes.ts'
import { duration, megabytes, print, table } from '../terminal.ts'

/** A bundle that was just made may not be in a record yet. */
const unusedMinMs = 600_000

export const pruneCommand: Command = {
  name: 'prune',
  usage: '',
  summary: 'remove bundles and runtimes that nothing needs',
  help: `  --dry-run         only say what would go
  --unused SPAN     what was not used for so long (default 24h, at least 10m)
  --down-to SIZE    only until the bundles take no more than this, in MB; the oldest go first
  --json            as JSON
  What a record of any app on this machine names, running or down, never goes. Nor does what was just made.
  Example: stead prune --dry-run`,
  options: { 'dry-run': { type: 'boolean' }, unused: { type: 'string' }, 'down-to': { type: 'string' } },
  argumentsMax: 0,
  async run(input) {
    const span = input.text('unused') ?? '24h'
    const unusedMs = parseDuration(span)
    if (unusedMs === null || unusedMs < unusedMinMs)
      throw usage(`--unused must be a time of at least 10m, not '${span}'`, helpOf(pruneCommand))
    const store = await createBundleStore({ root: bundlesDir(), clock: systemClock })
    const found = await store.unused(await neededBundles(), unusedMs)
    const megabytesMax = input.number('down-to', 0, 1_000_000_000)
    const goes = megabytesMax === null ? found : await beyond(store, found, megabytesMax * 1e6)
    const dryRun = input.flag('dry-run')
    if (!dryRun) await store.prune(goes)
    const bytes = goes.reduce((sum, item) => sum + item.bytes, 0)
    if (input.json) print(JSON.stringify({ dryRun, bytes, removed: goes }))
    else {
      const nowMs = systemClock.nowMs()
      const rows = goes.map(({ kind, digest, bytes: size, usedMs }) => [
        kind,
        digest.slice(0, 12),
        megabytes(size),
        `used ${duration(nowMs - usedMs)} ago`,
      ])
      if (rows.length > 0) print(table(rows))
      print(`${dryRun ? 'Would free' : 'Freed'} ${megabytes(bytes)}.`)
    }
    return exitCodes.ok
  },
}

/** The oldest of what nothing needs, until the rest is small enough. */
async function beyond(store: BundleStore, found: readonly Unused[], bytesMax: number): Promise<readonly Unused[]> {
  let left = await store.sizeBytes()
  const count = found.findIndex(({ bytes }) => {
    if (left <= bytesMax) return true
    left -= bytes
    return false
  })
  return count === -1 ? found : found.slice(0, count)
}
