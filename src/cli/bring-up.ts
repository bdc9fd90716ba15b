/**
 * An app on a machine that has nothing but Stead, from a backup: its code, its secrets, its data, and then itself.
 *
 * Invariant: no service of it runs before its data is there: nothing is written, sent or scheduled on empty data.
 */
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as z from 'zod'
import { createBundleStore } from '../artifact/index.ts'
import type { Backup, Backups } from '../backup/index.ts'
import { SteadError, systemClock } from '../base/index.ts'
import { type Graph, parseGraph, stateType } from '../model/index.ts'
import type { OperatorClient, RestoreWish, SealedSecret } from '../operator/index.ts'
import { decryptWith, makeIdentity } from '../secrets/index.ts'
import { takeInCode } from './backup-code.ts'
import { bringBackAt, hasLog } from './backup-log.ts'
import { bringBack, releaseName, secretsName, secretsPurpose } from './backups.ts'
import { partFailure } from './failure.ts'
import { followRelease, settle } from './follow-release.ts'
import { followDeployment } from './following.ts'
import { daemonHome } from './home.ts'
import { sendBundles } from './remote/sending.ts'
import type { Steps } from './terminal.ts'

const releaseSchema = z.object({ graph: z.unknown(), bundles: z.record(z.string(), z.string()) })
const secretsSchema: z.ZodType<readonly SealedSecret[]> = z.array(
  z.object({ name: z.string(), source: z.enum(['generated', 'operator', 'imported']), text: z.string() }),
)

export interface BringUp {
  readonly operator: OperatorClient
  readonly backups: Backups
  readonly backup: Backup
  /** Along the log that was carried after the backup, to there; null: to its end where nothing else has data, else not at all. */
  readonly at: RestoreWish['target'] | null
  /** That the clock may be off is known and does not matter. */
  readonly confirmed: boolean
  readonly steps: Steps
  readonly signal: AbortSignal
}

/**
 * Brings an app up from a backup where there is none of that name. Throws `cli.foreign-backup` for a backup that does not hold what
 * that needs, `cli.no-log`, `cli.part-failed`.
 */
export async function bringUp({ operator, backups, backup, at, confirmed, steps, signal }: BringUp): Promise<void> {
  const { app } = backup
  const dir = mkdtempSync(join(tmpdir(), 'stead-bring-up-'))
  try {
    const [extra, code] = [join(dir, 'extra'), join(dir, 'code')]
    await steps.run('read what travels with it', () => backups.restoreExtra(backup.id, extra))
    const { graph, bundles } = await releaseIn(backup, extra)
    await steps.run('bring its code', async () => {
      await backups.restoreCode(backup.id, code)
      const store = await createBundleStore({ root: daemonHome().bundlesDir, clock: systemClock })
      await takeInCode(store, code)
      // Nothing, unless the daemon is another user's, with a store of its own.
      await sendBundles({ store, operator, app, onProgress: () => {} }, Object.values(bundles))
    })
    await steps.run('give back its secrets', async () => {
      const secrets = secretsSchema.parse(JSON.parse(readFileSync(join(extra, secretsName), 'utf8')))
      const { identity } = await makeIdentity(await backups.derive(secretsPurpose))
      const opened = await Promise.all(
        secrets.map(async ({ text, ...secret }) => ({ ...secret, value: await decryptWith(text, identity) })),
      )
      await operator.secrets.restoreAll(app, opened)
    })
    const rest = resourcesOnly(graph)
    await place(operator, rest, bundles, steps, signal)
    const name = `restored-${backup.id}`
    const target = { operator, app }
    const moment = at ?? (await endOf(backups, backup, graph, steps))
    await steps.run('bring its data', async (detail) => {
      if (moment === null) return bringBack(target, backups, backup, name)
      const wish = { copy: name, target: moment, confirmed }
      const { parts } = await bringBackAt(target, backups, [backup], wish)
      detail(parts.map(({ part, position }) => `${part} up to ${position}`).join(', '))
    })
    const release = await operator.releases.back(app, { target: null, withData: true, checkpoint: name })
    settle(app, await followRelease(operator, app, release, steps, signal), true)
    await place(operator, graph, bundles, steps, signal)
  } finally {
    rmSync(dir, { recursive: true, force: true })
  }
}

async function releaseIn(
  backup: Backup,
  extra: string,
): Promise<{ readonly graph: Graph; readonly bundles: Readonly<Record<string, string>> }> {
  const path = join(extra, releaseName)
  const read = releaseSchema.safeParse(existsSync(path) ? JSON.parse(readFileSync(path, 'utf8')) : null).data
  if (read !== undefined && existsSync(join(extra, secretsName)) && backup.code !== null)
    return { graph: await parseGraph(read.graph), bundles: read.bundles }
  throw new SteadError({
    code: 'cli.foreign-backup',
    message: `the backup ${backup.id} does not hold what an empty machine needs: an older Stead made it`,
    hint: `Deploy ${backup.app} from its app file, and restore the backup then; or take its files with --to DIR.`,
  })
}

/**
 * The end of the log, where one was carried after the backup and nothing but databases has data: what else there is would stay behind
 * them, and whether that may be, only a person knows.
 */
async function endOf(backups: Backups, backup: Backup, { parts }: Graph, steps: Steps): Promise<BringUp['at']> {
  if (!(await hasLog(backups, backup))) return null
  const other = parts.find((part) => part.kind === 'resource' && !['postgres', 'secret'].includes(part.type))
  if (other === undefined) return { kind: 'end' }
  steps.say(
    `  The log there leads further than the backup, and ${other.name} has none: all is as it was in the backup.`,
  )
  steps.say(`  \`stead restore ${backup.app} --from ... --at end\` brings the databases up to where it ends.`)
  return null
}

/** The app without anything that runs. What services keep themselves comes with them. */
function resourcesOnly(of: Graph): Graph {
  const { streams: _, backup: __, ...graph } = of
  const parts = graph.parts.filter((part) => part.kind === 'resource' && part.type !== stateType)
  return { ...graph, parts, routes: [] }
}

/** Deploys, and follows it until it serves. */
async function place(
  operator: OperatorClient,
  graph: Graph,
  bundles: Readonly<Record<string, string>>,
  steps: Steps,
  signal: AbortSignal,
): Promise<void> {
  const own = Object.entries(bundles).filter(([part]) => graph.parts.some(({ name }) => name === part))
  const deployment = { graph, bundles: Object.fromEntries(own), origin: null, rollout: { watchMs: 0 } }
  const { direct } = await operator.releases.plan(deployment)
  const { release } = await operator.deploy(deployment)
  if (direct === null) {
    settle(graph.app, await followRelease(operator, graph.app, release, steps, signal), true)
    return
  }
  const failed = await followDeployment(operator, graph, steps, signal)
  if (failed !== null) throw partFailure(failed.part, failed.reason)
}
