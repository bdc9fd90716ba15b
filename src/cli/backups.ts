/**
 * Backups of apps that run on this machine: how they are opened, made, proved and brought back, for the commands `backup` and
 * `restore`. A drill starts the app itself as a branch on what was restored.
 *
 * Invariants: what a backup is made of, and what it is brought back into, is a copy of the data: the live data is never touched
 * here. Copies that are made on the way are deleted, however it ends.
 */
import {
  existsSync,
  lchownSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import * as z from 'zod'
import { createBundleStore } from '../artifact/index.ts'
import {
  afterDrill,
  type Backup,
  type Backups,
  type BackUpOptions,
  ensureNames,
  exportKey,
  findTool,
  newestOf,
  openBackups,
  parseTarget,
  type Progress,
  type Proof,
  runDrill,
  type Target as Place,
  writeKey,
} from '../backup/index.ts'
import { randomId, SteadError, systemClock, systemRandom } from '../base/index.ts'
import type { Adoption, OperatorClient } from '../operator/index.ts'
import { makeIdentity } from '../secrets/index.ts'
import { codeIdOf, layOutCode } from './backup-code.ts'
import { drillsOf, noteDrills } from './backup-notes.ts'
import { type Input, usage } from './command.ts'
import { followDeployment } from './following.ts'
import { backupKeyPath, bundlesDir } from './home.ts'
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

/** The place that an option names. Throws `cli.usage`, `backup.bad-target`. */
export function needPlace(input: Input, option: 'to' | 'from'): Place {
  const text = input.text(option)
  if (text === null)
    throw usage(`where are the backups?`, `Say --${option} /mnt/disk/backups, or s3:https://HOST/BUCKET.`)
  const [credentialsFile, region] = [input.text('credentials'), input.text('region')]
  return parseTarget(text, {
    ...(credentialsFile === null ? {} : { credentialsFile }),
    ...(region === null ? {} : { region }),
  })
}

/** Opens a place. A key is made where there is none and `make` says so; it is shown that once. */
export async function openPlace(target: Place, make: boolean): Promise<Backups> {
  const keyFile = backupKeyPath()
  const open = (): Promise<Backups> => openBackups({ target, keyFile, clock: systemClock, random: systemRandom })
  if (!make || existsSync(keyFile)) return open()
  // What may fail comes before the key: it is shown once, and nobody must miss that.
  await findTool(null)
  mkdirSync(dirname(keyFile), { recursive: true, mode: 0o711 })
  await writeKey(keyFile, systemRandom)
  const { key, advice } = await exportKey(keyFile)
  note(`A key was made for the backups of this machine:\n\n  ${key}\n\n${advice.join('\n')}\n`)
  return open()
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
/** The release that served: its graph, and which bundles. */
export const releaseName = 'release.json'
/** The secrets of the app, each sealed for whoever has the key of the backups. */
export const secretsName = 'secrets.json'
/** What the identity is for that they are sealed for. */
export const secretsPurpose = 'secrets'

/** Copies of a backup or drill that was killed are given back when they are older than any of them takes. */
const leftMs = 24 * 3_600_000

/** Gives back what backups and drills that were killed have left in the data of an app. */
export async function giveBackLeft({ operator, app }: Target, nowMs: number): Promise<void> {
  const { copies } = await operator.releases.data(app)
  const left = copies
    .filter(({ name, createdAtMs }) => isOurs(name) && createdAtMs < nowMs - leftMs)
    .map(({ name }) => name)
  if (left.length === 0) return
  const { branches } = await operator.releases.list(app)
  for (const { name } of branches) if (left.includes(name)) await operator.releases.removeBranch(app, name)
  await operator.releases.deleteCopies(app, left)
}

/** Whether a name of a copy is one that is made here. */
function isOurs(name: string): boolean {
  return /^(?:backup-[0-9a-z]{8}|drill-[0-9a-z]{4}|along-[0-9a-z]{8}-(?:base|log))$/.test(name)
}

/** Takes a checkpoint, backs it up, and gives it back. */
export async function backUpApp(
  { operator, app }: Target,
  backups: Backups,
  name: string,
  steps: Steps,
  signal: AbortSignal,
): Promise<Backup> {
  const checkpoint = `backup-${randomId(systemRandom)}`
  // Before anything is made.
  ensureNames({ app, name, checkpoint })
  await giveBackLeft({ operator, app }, systemClock.nowMs())
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
    if (release !== undefined) writeFileSync(join(extra, releaseName), JSON.stringify(release, null, 2))
    writeFileSync(join(extra, 'releases.json'), JSON.stringify(releases))
    const { recipient } = await makeIdentity(await backups.derive(secretsPurpose))
    writeFileSync(join(extra, secretsName), JSON.stringify(await operator.secrets.exportAll(app, [recipient])))
    const code = release === undefined ? {} : { code: await codeOf(release.bundles) }
    return await steps.run('back up', (detail) => {
      const onProgress = ({ doneBytes, totalBytes }: Progress): void =>
        detail(`${Math.round(doneBytes / 1e6)} of ${Math.round(totalBytes / 1e6)} MB`)
      const of = { app, name, checkpoint, generation: kept.generation, release: kept.release, atMs: kept.createdAtMs }
      return backups.backUp(copy.path, of, { extra, ...code, onProgress, signal })
    })
  } finally {
    rmSync(extra, { recursive: true, force: true })
    await operator.releases.deleteCopies(app, [checkpoint])
  }
}

/** The code of a release, for whoever keeps it elsewhere. */
async function codeOf(bundles: Readonly<Record<string, string>>): Promise<NonNullable<BackUpOptions['code']>> {
  const layOut = async (dir: string): Promise<void> => {
    const store = await createBundleStore({ root: bundlesDir(), clock: systemClock })
    await layOutCode(store, Object.values(bundles), dir)
  }
  return { id: codeIdOf(bundles), layOut }
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
    const owners = ownersOf(copy.path)
    await backups.restore(backup.id, copy.path, { extraTo, replace: true })
    giveTo(copy.path, owners)
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
  await giveBackLeft({ operator, app }, systemClock.nowMs())
  const extraDir = mkdtempSync(join(tmpdir(), 'stead-drill-'))
  const copy = await operator.releases.spareCopy(app, name)
  try {
    if (!existsSync(copy.path)) throw elsewhere(app)
    const owners = ownersOf(copy.path)
    const proof = await runDrill({
      backups,
      backup,
      dir: copy.path,
      extraDir,
      read: 'everything',
      undecided: ['agent.data-busy', 'control.node-away', 'control.older-node', 'domain.disk-full'],
      clock: systemClock,
      signal,
      async prove() {
        giveTo(copy.path, owners)
        await operator.releases.adopt(app, adoptionOf(backup, extraDir, name))
        const { checks } = await steps.run('read all of it', () => operator.releases.verify(app, name, probes))
        return { checks: [...checks, ...(await startBranch(operator, app, name, steps, signal))] }
      },
    })
    noteDrills(backups.place, app, afterDrill(drillsOf(backups.place, app), proof))
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

/** To whom each part's data belongs on this machine: users have other numbers on another. Empty where nobody may change that. */
export function ownersOf(tree: string): ReadonlyMap<string, number> {
  if (process.getuid?.() !== 0) return new Map()
  return new Map(readdirSync(tree).map((part) => [part, lstatSync(join(tree, part)).uid]))
}

/** Gives what was restored for a part to its user here. No link is followed. */
export function giveTo(tree: string, owners: ReadonlyMap<string, number>): void {
  for (const [part, uid] of owners) {
    const root = join(tree, part)
    if (existsSync(root) && lstatSync(root).uid !== uid) giveAll(root, uid)
  }
}

function giveAll(path: string, uid: number): void {
  if (lstatSync(path).isDirectory()) for (const name of readdirSync(path)) giveAll(join(path, name), uid)
  lchownSync(path, uid, uid)
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

/** The error for data that this process cannot reach. */
export function elsewhere(word: string): SteadError {
  return new SteadError({
    code: 'cli.data-elsewhere',
    message: `the data of ${word} is not on this machine, or may not be read by you`,
    hint: 'Backups are made and brought back where the data is, as the user who runs Stead there.',
  })
}
