/** `stead disk`: who uses what, on this machine. */
import { statfsSync } from 'node:fs'
import { systemClock } from '../../base/index.ts'
import { createBundleStore } from '../../artifact/index.ts'
import type { Command } from '../command.ts'
import { platformsUsage, sizeOf } from '../disk-usage.ts'
import { exitCodes } from '../exit-codes.ts'
import { bundlesDir } from '../home.ts'
import { neededBundles } from '../homes.ts'
import { megabytes, paint, print, table } from '../terminal.ts'

export const diskCommand: Command = {
  name: 'disk',
  usage: '[APP]',
  summary: 'who uses what of the disk of this machine',
  help: `  --json        as JSON
  APP is the name of an app; all of them when it is left out. Data are set aside for each app where the machine allows
  it (\`stead doctor\` says), so that one that fills up takes nothing from the others. Output is bounded for each instance.
  Example: stead disk`,
  options: {},
  argumentsMax: 1,
  async run({ arguments: [only], json }) {
    const bundles = bundlesDir()
    const platforms = platformsUsage()
    const store = await createBundleStore({ root: bundles, clock: systemClock })
    const unused = await store.unused(await neededBundles(), 0)
    const { bavail, blocks, bsize } = statfsSync(bundles)
    const report = {
      disk: { totalBytes: blocks * bsize, freeBytes: bavail * bsize },
      bundles: { bytes: sizeOf(bundles), unusedBytes: unused.reduce((sum, { bytes }) => sum + bytes, 0) },
      platforms: platforms
        .map((platform) => ({
          ...platform,
          apps: platform.apps.filter(({ app }) => only === undefined || app === only),
        }))
        .filter(({ apps }) => only === undefined || apps.length > 0),
    }
    if (json) print(JSON.stringify(report))
    else show(report)
    return exitCodes.ok
  },
}

function show({
  disk,
  bundles,
  platforms,
}: {
  readonly disk: { readonly totalBytes: number; readonly freeBytes: number }
  readonly bundles: { readonly bytes: number; readonly unusedBytes: number }
  readonly platforms: ReturnType<typeof platformsUsage>
}): void {
  print(`${megabytes(disk.freeBytes)} of ${megabytes(disk.totalBytes)} free`)
  const rows = platforms.flatMap(({ place, recordBytes, apps }) => [
    ...apps.map(({ app, dataBytes, dataBytesMax, logBytes }) => [
      app,
      megabytes(dataBytes),
      dataBytesMax === null ? '' : megabytes(dataBytesMax),
      megabytes(logBytes),
      place,
    ]),
    [paint('dim', 'records'), megabytes(recordBytes), '', '', place],
  ])
  const shared = [
    paint('dim', 'bundles'),
    megabytes(bundles.bytes),
    '',
    '',
    `${megabytes(bundles.unusedBytes)} not needed: \`stead prune\``,
  ]
  print(table([['APP', 'DATA', 'SET ASIDE', 'OUTPUT', ''].map((head) => paint('dim', head)), ...rows, shared]))
}
