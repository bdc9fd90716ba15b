/**
 * Backups of apps that run on this machine: how they are opened, made, proved and brought back, for the commands `backup` and
 * `restore`. A drill starts the app itself as a branch on what was restored.
 *
 * Invariants: what a backup is made of, and what it is brought back into, is a copy of the data: the live data is never touched
 * here. Copies that are made on the way are deleted, however it ends.
 */
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import * as z from 'zod'
import {
  afterDrill,
  type Backup,
  type Backups,
  type Drills,
  exportKey,
  newestOf,
  noDrills,
  openBackups,
  parseDrills,
  parseTarget,
  type Progress,
  type Proof,
  runDrill,
  writeKey,
} from '../backup/index.ts'
import { randomId, SteadError, systemClock, systemRandom } from '../base/index.ts'
import type { Adoption, OperatorClient } from '../operator/index.ts'
import { type Input, usage } from './command.ts'
import { followDeployment } from './following.ts'
import { backupKeyPath, drillsPath } from './home.ts'
import { isServerWord } from './remote/remote-target.ts'
import { needTarget, type Target } from './target.ts'
import { note, type Steps } from './terminal.ts'

/** Options of every command that reaches a place with backups. */
export const placeOptions = { credentials: { type: 'string' }, region: { type: 'string' } } as const

/** Their help. */
export const placeHelp = `  TARGET is a directory of another disk, or s3:https://HOST/BUCKET[/FOLDER].
  --credentials FILE  keys of the S3 server: aws_access_key_id = ..., aws_secret_access_key = ...; mode 600. Without
                      it AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY of the environment
  --region NAME       where the S3 server wants one`

/** Opens the place that an option names. A key is made where there is none and `make` says so; it is shown that once. */
export async function openPlace(input: Input, option: 'to' | 'from', make: boolean): Promise<Backups> {
  const text = input.text(option)
  if (text === null)
    throw usage(`where are the backups?`, `Say --${option} /mnt/disk/backups, or s3:https://HOST/BUCKET.`)
  const [credentialsFile, region] = [input.text('credentials'), input.text('region')]
  const target = parseTarget(text, {
    ...(credentialsFile === null ? {} : { credentialsFile }),
    ...(region === null ? {} : { region }),
  })
  const keyFile = backupKeyPath()
  const open = (): Promise<Backups> => openBackups({ target, keyFile, clock: systemClock, random: systemRandom })
  if (!make || existsSync(keyFile)) return open()
  mkdirSync(dirname(keyFile), { recursive: true, mode: 0o711 })
  await writeKey(keyFile, systemRandom)
  const opened = await open()
  const { key, advice } = await exportKey(keyFile)
  note(`A key was made for the backups of this machine:\n\n  ${key}\n\n${advice.join('\n')}\n`)
  return opened
}

/** An app whose data is on this machine. Throws `cli.data-elsewhere` for one of a server. */
export async function needLocal(word: string | null): Promise<Target> {
  if (word === null || !isServerWord(word)) return needTarget(word)
  throw elsewhere(word)
}

/** What travels with the data of an app. */
const travelsSchema = z.object({
  release: z.int().positive(),
  generation: z.int().positive(),
  createdAtMs: z.number(),
  schema: z.object({
    bundles: z.record(z.string(), z.string()),
    phase: z.enum(['expand', 'all']),
    parts: z.array(z.string()),
  }),
})
const travelsName = 'checkpoint.json'

/** Takes a checkpoint, backs it up, and gives it back. */
export async function backUpApp(
  { operator, app }: Target,
  backups: Backups,
  name: string,
  steps: Steps,
  signal: AbortSignal,
): Promise<Backup> {
  const checkpoint = `backup-${randomId(systemRandom)}`
  const extra = mkdtempSync(join(tmpdir(), 'stead-backup-'))
  try {
    await steps.run('checkpoint', () => operator.releases.checkpoint(app, checkpoint))
    const { checkpoints, releases } = await operator.releases.list(app)
    const { copies } = await operator.releases.data(app)
    const kept = checkpoints.find((one) => one.name === checkpoint)
    const copy = copies.find((one) => one.name === checkpoint)
    if (kept === undefined || copy === undefined || !existsSync(copy.path)) throw elsewhere(app)
    const release = releases.find(({ number }) => number === kept.release)
    writeFileSync(join(extra, travelsName), JSON.stringify(kept, null, 2))
    if (release !== undefined) writeFileSync(join(extra, 'release.json'), JSON.stringify(release, null, 2))
    return await steps.run('back up', (detail) => {
      const onProgress = ({ doneBytes, totalBytes }: Progress): void =>
        detail(`${Math.round(doneBytes / 1e6)} of ${Math.round(totalBytes / 1e6)} MB`)
      const of = { app, name, checkpoint, generation: kept.generation, release: kept.release, atMs: kept.createdAtMs }
      return backups.backUp(copy.path, of, { extra, onProgress, signal })
    })
  } finally {
    rmSync(extra, { recursive: true, force: true })
    await operator.releases.deleteCopies(app, [checkpoint])
  }
}

/** Restores a backup into a copy of the app's data, which is a checkpoint called `name` from then on. */
export async function bringBack(
  { operator, app }: Target,
  backups: Backups,
  backup: Backup,
  name: string,
): Promise<void> {
  const extraTo = mkdtempSync(join(tmpdir(), 'stead-restore-'))
  const copy = await operator.releases.spareCopy(app, name)
  try {
    if (!existsSync(copy.path)) throw elsewhere(app)
    await backups.restore(backup.id, copy.path, { extraTo, replace: true })
    await operator.releases.adopt(app, adoptionOf(backup, extraTo, name))
  } catch (error) {
    await operator.releases.deleteCopies(app, [name])
    throw error
  } finally {
    rmSync(extraTo, { recursive: true, force: true })
  }
}

/**
 * Proves a backup: it is restored into a copy of the data, its resources are started there and read whole, the probes are
 * asked, and the app is started on it as a branch, which dials nothing outside and runs no schedule. Keeps what came of it.
 */
export async function drillApp(
  { operator, app }: Target,
  backups: Backups,
  backup: Backup,
  probes: Readonly<Record<string, string>>,
  steps: Steps,
  signal: AbortSignal,
): Promise<Proof> {
  const name = `drill-${randomId(systemRandom, 4)}`
  const extraDir = mkdtempSync(join(tmpdir(), 'stead-drill-'))
  const copy = await operator.releases.spareCopy(app, name)
  try {
    if (!existsSync(copy.path)) throw elsewhere(app)
    const proof = await runDrill({
      backups,
      backup,
      dir: copy.path,
      extraDir,
      read: 'everything',
      clock: systemClock,
      signal,
      async prove() {
        await operator.releases.adopt(app, adoptionOf(backup, extraDir, name))
        const { checks } = await steps.run('read all of it', () => operator.releases.verify(app, name, probes))
        return { checks: [...checks, ...(await startBranch(operator, app, name, steps, signal))] }
      },
    })
    keepDrills(backups.place, app, afterDrill(drillsOf(backups.place, app), proof))
    return proof
  } finally {
    rmSync(extraDir, { recursive: true, force: true })
    await operator.releases.deleteCopies(app, [name])
  }
}

/** Starts the app on a copy and takes it away again; answers what ran. */
async function startBranch(
  operator: OperatorClient,
  app: string,
  name: string,
  steps: Steps,
  signal: AbortSignal,
): Promise<readonly string[]> {
  const own = await operator.releases.branch(app, name, name, 'look')
  try {
    const graph = await operator.graph(own)
    const failed = await followDeployment(operator, graph, steps, signal)
    if (failed !== null) throw new Error(`${failed.part.name} does not start on it: ${failed.reason}`)
    return graph.parts.map(({ name: part }) => `${part} started`)
  } finally {
    await operator.releases.removeBranch(app, name)
  }
}

/** The newest backup of an app, or the one of that id. Throws `cli.no-backup`. */
export function backupOf(all: readonly Backup[], app: string, id: string | null, place: string): Backup {
  const own = all.filter((backup) => backup.app === app)
  const found = id === null ? newestOf(own) : own.find((backup) => backup.id === id)
  if (found !== undefined && found !== null) return found
  const apps = [...new Set(all.map((backup) => backup.app))]
  throw new SteadError({
    code: 'cli.no-backup',
    message: `there is no backup${id === null ? '' : ` ${id}`} of ${app} at ${place}`,
    hint: apps.length === 0 ? 'There is none at all.' : `There are backups of ${apps.join(', ')}: \`stead backup ls\`.`,
  })
}

const keptSchema = z.record(z.string(), z.record(z.string(), z.unknown()))

/** What is known here of the proofs of an app's backups at a place. */
export function drillsOf(place: string, app: string): Drills {
  return parseDrills(readKept()[place]?.[app] ?? noDrills)
}

function keepDrills(place: string, app: string, drills: Drills): void {
  const kept = readKept()
  const path = drillsPath()
  const fresh = `${path}.${process.pid}`
  writeFileSync(fresh, `${JSON.stringify({ ...kept, [place]: { ...kept[place], [app]: drills } })}\n`, { flush: true })
  renameSync(fresh, path)
}

function readKept(): z.infer<typeof keptSchema> {
  if (!existsSync(drillsPath())) return {}
  try {
    return keptSchema.safeParse(JSON.parse(readFileSync(drillsPath(), 'utf8'))).data ?? {}
  } catch {
    return {}
  }
}

function adoptionOf(backup: Backup, extraDir: string, name: string): Adoption {
  const path = join(extraDir, travelsName)
  const read = travelsSchema.safeParse(existsSync(path) ? JSON.parse(readFileSync(path, 'utf8')) : null)
  if (read.success) return { name, ...read.data }
  throw new SteadError({
    code: 'cli.foreign-backup',
    message: `the backup ${backup.id} was not made by \`stead backup\`: it does not say of which release its data is`,
    hint: 'Restore its files with --to DIR.',
  })
}

function elsewhere(word: string): SteadError {
  return new SteadError({
    code: 'cli.data-elsewhere',
    message: `the data of ${word} is not on this machine, or may not be read by you`,
    hint: 'Backups are made and brought back where the data is, as the user who runs Stead there.',
  })
}
