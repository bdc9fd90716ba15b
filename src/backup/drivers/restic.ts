/**
 * Backups by restic: its repository at the target holds them, encrypted, each piece of data once.
 *
 * Invariants: the record of a backup is written after its data (`records.ts`), and deleted before it; nothing here prepares
 * a target but `init`, so a disk that is not mounted is never filled by mistake.
 */
import { hkdfSync } from 'node:crypto'
import { mkdir, mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as z from 'zod'
import { type Clock, type Random, SteadError, randomId } from '../../base/index.ts'
import type {
  Backup,
  BackUpOptions,
  Backups,
  BackupOf,
  CarriedLog,
  Progress,
  RestoreOptions,
  Verified,
} from '../backups.ts'
import { failureOf } from '../failure.ts'
import {
  type Snapshot,
  type Stored,
  codesOf,
  codeTags,
  dataTags,
  doubtfulFromMs,
  ensureNames,
  leftOver,
  logsOf,
  logTags,
  parseSnapshots,
  recordTags,
  storedOf,
} from '../records.ts'
import { type S3Credentials, type Target, parseCredentials, placeOf } from '../target.ts'
import { readKey, readPrivate } from './key-file.ts'
import { type Tool, findTool, runTool, tryTool } from './tool.ts'
import { changesOf, ensureOutside, isDirectory, openEmpty, removeTree } from './trees.ts'

export interface BackupsOptions {
  readonly target: Target
  /** The file with the key, made with `writeKey`. It must not lie within what is backed up. */
  readonly keyFile: string
  readonly clock: Clock
  readonly random: Random
  /** A directory of this machine for copies of the target's indexes, which make a far target quicker; null: none. */
  readonly cacheDir?: string | null
  /** Where restic is; found by itself unless given. */
  readonly program?: string
  /** How long to wait for a target that has stopped to answer; default 2 minutes. */
  readonly stallMsMax?: number
}

/** What was left half made is deleted when it is older: a backup that still runs has not got its record yet. */
const leftOverMsMin = 24 * 3_600_000
const problemsMax = 20
/** Logs that a newer one has replaced are forgotten together. */
const olderLogsMax = 12

/**
 * Opens the backups at a target. Does not look at the target yet. Throws `backup.no-tool`, `backup.old-tool`,
 * `backup.key-missing`, `backup.file-exposed`, `backup.bad-key`.
 */
export async function openBackups(options: BackupsOptions): Promise<Backups> {
  const { target, keyFile, clock, random, cacheDir = null, stallMsMax = 120_000 } = options
  await readKey(keyFile)
  const place = placeOf(target)
  const tool: Tool = {
    program: await findTool(options.program ?? null),
    clock,
    place,
    environment: () => environmentOf(target, keyFile, cacheDir),
    options: target.kind === 's3' && target.region !== null ? ['--option', `s3.region=${target.region}`] : [],
    stallMsMax,
  }
  const snapshots = async (cache = true): Promise<readonly Snapshot[]> => {
    const text = await runTool(tool, {
      what: 'list backups',
      args: ['snapshots', '--json'],
      cache: cache && cacheDir !== null,
    })
    const read = parseSnapshots(text)
    if (read !== null) return read
    throw new SteadError({
      code: 'backup.tool-failed',
      message: `Could not list backups at ${place}: what restic printed is not a list.`,
    })
  }
  const stored = async (cache?: boolean): Promise<readonly Stored[]> => storedOf(await snapshots(cache), place)

  return {
    place,

    async init() {
      if (target.kind === 'directory') await mkdir(target.path, { recursive: true, mode: 0o700 })
      const what = 'prepare the target'
      const made = await tryTool(tool, { what, args: ['init'] })
      if (made.exitCode === 0) return 'made'
      if (!/already (?:exists|initialized)/.test(made.errors)) {
        throw failureOf({ what, place, exitCode: made.exitCode, output: made.errors })
      }
      await snapshots()
      return 'there'
    },

    async backUp(tree, of, more = {}) {
      ensureNames(of)
      if (!(await isDirectory(tree))) {
        throw new SteadError({ code: 'backup.unreadable', message: `There is no directory ${tree} to back up.` })
      }
      await ensureOutside(tree, keyFile, 'The key of backups')
      if (target.kind === 'directory') await ensureOutside(tree, target.path, 'The target of backups')
      return await backUp(tool, random, await snapshots(), tree, of, more, cacheDir !== null)
    },

    list: async () => (await stored()).map(({ backup }) => backup),

    async restore(id, dir, more = {}) {
      const all = await stored(more.fresh !== true)
      const found = all.find(({ backup }) => backup.id === id)
      if (found === undefined) {
        throw new SteadError({
          code: 'backup.unknown-backup',
          message: `There is no backup ${JSON.stringify(id)} at ${place}.`,
          hint: all.length === 0 ? 'There is none at all.' : `The newest are ${idsOf(all.slice(-5))}.`,
        })
      }
      const cache = cacheDir !== null && more.fresh !== true
      await restoreOne(tool, found.dataId, dir, found.backup.bytes, cache, more)
      if (more.extraTo !== undefined && found.backup.extra) {
        await restoreOne(tool, found.recordId, more.extraTo, 0, cache, more)
      }
    },

    async restoreExtra(id, dir) {
      const found = (await stored()).find(({ backup }) => backup.id === id && backup.extra)
      if (found === undefined) {
        const message = `There is nothing with the backup ${JSON.stringify(id)} at ${place}.`
        throw new SteadError({ code: 'backup.unknown-backup', message, hint: 'Its data alone can be restored.' })
      }
      await restoreOne(tool, found.recordId, dir, 0, false, {})
    },

    async restoreCode(id, dir) {
      const all = await snapshots()
      const { code = null } = storedOf(all, place).find(({ backup }) => backup.id === id)?.backup ?? {}
      const found = code === null ? undefined : codesOf(all).get(code)
      if (found === undefined) {
        const message = `There is no code with the backup ${JSON.stringify(id)} at ${place}.`
        throw new SteadError({
          code: 'backup.unknown-backup',
          message,
          hint: 'Deploy the app, and restore its data then.',
        })
      }
      await restoreOne(tool, found.id, dir, 0, false, {})
    },

    async derive(purpose) {
      const key = Buffer.from(await readKey(keyFile))
      return new Uint8Array(hkdfSync('sha256', key, '', `stead backup ${purpose}`, 32))
    },

    async carryLog(dir, of, signal) {
      ensureNames({ app: of.app, name: of.part, checkpoint: of.after })
      if (!(await isDirectory(dir))) {
        throw new SteadError({ code: 'backup.unreadable', message: `There is no directory ${dir} with a log.` })
      }
      const what = `carry the log of ${of.app}`
      const { newest, older } = logsOf(await snapshots())
      const before = newest
        .filter(({ app, part }) => app === of.app && part === of.part)
        .toSorted(byTime)
        .at(-1)
      // Its files never change, and links to them do change what is known of them.
      const compare = before === undefined ? ['--force'] : ['--parent', before.id, '--ignore-ctime']
      const cache = cacheDir !== null
      await snapshot(tool, { what, cwd: dir, args: [...compare, '.'], tags: logTags(of), signal, cache })
      // Each run of the tool costs half a second: not after every one.
      if (older.length >= olderLogsMax) await runTool(tool, { what, args: ['forget', ...older], signal })
    },

    logs: async () => logsOf(await snapshots()).newest,

    async restoreLog(id, dir, signal) {
      const found = logsOf(await snapshots()).newest.find((log) => log.id === id)
      if (found === undefined) {
        const message = `There is no log ${JSON.stringify(id)} at ${place}.`
        throw new SteadError({
          code: 'backup.unknown-backup',
          message,
          hint: 'A newer one took its place: look again.',
        })
      }
      await restoreOne(tool, id, dir, 0, false, { signal })
    },

    verify: (depth, signal) => verify(tool, depth, signal),

    async forget(ids) {
      const all = await snapshots()
      const gone = storedOf(all, place).filter(({ backup }) => ids.includes(backup.id))
      const halves = leftOver(all, clock.nowMs(), leftOverMsMin)
      const what = 'forget backups'
      // Records first: what is cut off in between is not listed any more, and its data is a left-over.
      const records = gone.map(({ recordId }) => recordId)
      if (records.length > 0) await runTool(tool, { what, args: ['forget', ...records] })
      const { newest, older } = logsOf(all)
      const kept = new Set(storedOf(all, place).flatMap(({ backup: { id } }) => (ids.includes(id) ? [] : [id])))
      const logs = newest.filter(({ after }) => !kept.has(after)).map(({ id }) => id)
      const wanted = new Set(storedOf(all, place).flatMap(({ backup: { id, code } }) => (kept.has(id) ? [code] : [])))
      const codes = [...codesOf(all)].flatMap(([code, { id, timeMs }]) =>
        // A backup that still runs names its code only at its end.
        wanted.has(code) || timeMs > clock.nowMs() - leftOverMsMin ? [] : [id],
      )
      const rest = [...gone.map(({ dataId }) => dataId), ...halves, ...older, ...logs, ...codes]
      const args = rest.length === 0 ? ['prune'] : ['forget', '--prune', ...rest]
      await runTool(tool, { what, args, cache: cacheDir !== null })
    },
  }
}

async function backUp(
  tool: Tool,
  random: Random,
  there: readonly Snapshot[],
  tree: string,
  of: BackupOf,
  { extra, code, onProgress, signal }: BackUpOptions,
  cache: boolean,
): Promise<Backup> {
  const what = `back up ${of.app}`
  const id = randomId(random)
  const parent = storedOf(there, tool.place).findLast(({ backup }) => backup.app === of.app)
  const fromMs = parent === undefined ? null : doubtfulFromMs(parent)
  const changes = await changesOf(tree, fromMs ?? Infinity, parent?.changedMs ?? -Infinity)
  // Files that look unchanged since the parent are not read again. Where that look may be wrong, all are.
  const compare = parent === undefined || changes.between ? ['--force'] : ['--parent', parent.dataId]
  const data = await snapshot(
    tool,
    { what, cwd: tree, args: [...compare, '.'], tags: dataTags(id, of.app), signal, cache },
    onProgress,
  )
  const backup: Backup = {
    ...of,
    id,
    files: data.total_files_processed,
    bytes: data.total_bytes_processed,
    addedBytes: data.data_added,
    extra: extra !== undefined,
    code: code?.id ?? null,
  }
  if (code !== undefined && !codesOf(there).has(code.id)) await keepCode(tool, what, code, signal, cache)
  const record = { what, tags: recordTags(backup, changes.changedMs), signal, cache }
  await (extra === undefined
    ? snapshot(tool, { ...record, args: ['--stdin', '--stdin-filename', 'record.json'], input: JSON.stringify(backup) })
    : snapshot(tool, { ...record, cwd: extra, args: ['--force', '.'] }))
  return backup
}

/** Brings code to the target, before the record that names it. */
async function keepCode(
  tool: Tool,
  what: string,
  { id, layOut }: NonNullable<BackUpOptions['code']>,
  signal: AbortSignal | undefined,
  cache: boolean,
): Promise<void> {
  const dir = await mkdtemp(join(tmpdir(), 'stead-code-'))
  try {
    await layOut(dir)
    await snapshot(tool, { what, cwd: dir, args: ['--force', '.'], tags: codeTags(id), signal, cache })
  } finally {
    await removeTree(dir)
  }
}

interface SnapshotRun {
  readonly what: string
  readonly cwd?: string
  readonly args: readonly string[]
  readonly input?: string
  readonly tags: readonly string[]
  readonly signal: AbortSignal | undefined
  readonly cache: boolean
}

const messageSchema = z.discriminatedUnion('message_type', [
  z.object({
    message_type: z.literal('status'),
    bytes_done: z.number().default(0),
    total_bytes: z.number().default(0),
  }),
  z.object({
    message_type: z.literal('summary'),
    total_files_processed: z.number(),
    total_bytes_processed: z.number(),
    data_added: z.number(),
  }),
])
type Message = z.infer<typeof messageSchema>
type Summary = Extract<Message, { readonly message_type: 'summary' }>

async function snapshot(
  tool: Tool,
  { tags, args, ...run }: SnapshotRun,
  onProgress?: (progress: Progress) => void,
): Promise<Summary> {
  const said: { summary: Summary | null } = { summary: null }
  const onLine = (line: string): void => {
    const message = parseMessage(line)
    if (message?.message_type === 'summary') said.summary = message
    if (message?.message_type === 'status') {
      onProgress?.({ doneBytes: message.bytes_done, totalBytes: message.total_bytes })
    }
  }
  const tagged = tags.flatMap((tag) => ['--tag', tag])
  const full = ['backup', '--json', '--host', 'stead', ...tagged, ...args]
  try {
    await runTool(tool, { ...run, args: full, onLine })
  } catch (cause) {
    // Exit code 3: it has stored what it could read. That has no record, and never gets one.
    if (said.summary === null) throw cause
    throw new SteadError({
      code: 'backup.unreadable',
      message: `Could not ${run.what}: part of ${run.cwd ?? 'it'} could not be read, so that there is no backup.`,
      hint: 'Back up a checkpoint, which nobody changes, as the user to whom the data belongs, or as root.',
      cause,
    })
  }
  if (said.summary !== null) return said.summary
  throw new SteadError({
    code: 'backup.tool-failed',
    message: `Could not ${run.what} at ${tool.place}: restic did not say what it has stored.`,
  })
}

async function restoreOne(
  tool: Tool,
  snapshotId: string,
  dir: string,
  bytes: number,
  cache: boolean,
  { signal, replace = false }: RestoreOptions,
): Promise<void> {
  const empty = await openEmpty(dir, bytes, replace)
  try {
    await runTool(tool, {
      what: `restore into ${dir}`,
      args: ['restore', '--verify', '--target', dir, snapshotId],
      cache,
      signal,
    })
    await empty.done()
  } catch (cause) {
    await empty.undo()
    throw cause
  }
}

/** Reads what the target holds, past every copy that is kept here. */
async function verify(tool: Tool, depth: 'structure' | 'data', signal: AbortSignal | undefined): Promise<Verified> {
  const args = ['check', ...(depth === 'data' ? ['--read-data'] : [])]
  try {
    const output = await runTool(tool, { what: 'verify backups', args, signal })
    return { problems: problemsOf(output) }
  } catch (cause) {
    if (!(cause instanceof SteadError) || cause.code !== 'backup.damaged') throw cause
    return { problems: [cause.message] }
  }
}

function problemsOf(output: string): readonly string[] {
  return output
    .split('\n')
    .filter((line) => /^error|does not match|damaged/i.test(line))
    .slice(0, problemsMax)
}

/** A line of the tool's output; null for what says nothing to us. */
function parseMessage(line: string): Message | null {
  try {
    return messageSchema.safeParse(JSON.parse(line)).data ?? null
  } catch {
    return null
  }
}

function byTime(a: CarriedLog, b: CarriedLog): number {
  return a.atMs - b.atMs
}

function idsOf(stored: readonly Stored[]): string {
  return stored.map(({ backup }) => `${backup.id} (${backup.app} ${backup.name})`).join(', ')
}

/** What the tool needs of this process's environment to reach a target; nothing else is handed on. */
const passed = [
  'PATH',
  'TMPDIR',
  'HTTPS_PROXY',
  'HTTP_PROXY',
  'NO_PROXY',
  'https_proxy',
  'http_proxy',
  'no_proxy',
  'SSL_CERT_FILE',
  'SSL_CERT_DIR',
]

async function environmentOf(
  target: Target,
  keyFile: string,
  cacheDir: string | null,
): Promise<Readonly<Record<string, string>>> {
  const handed = passed.flatMap((name) => (process.env[name] === undefined ? [] : [[name, process.env[name] ?? '']]))
  const base = {
    ...Object.fromEntries(handed),
    LC_ALL: 'C',
    TZ: 'UTC',
    RESTIC_PASSWORD_FILE: keyFile,
    RESTIC_REPOSITORY: placeOf(target),
    RESTIC_PROGRESS_FPS: '3',
    ...(cacheDir === null ? {} : { RESTIC_CACHE_DIR: cacheDir }),
  }
  if (target.kind === 'directory') return base
  const { accessKeyId, secretAccessKey, sessionToken } = await credentialsOf(target.credentialsFile)
  return {
    ...base,
    AWS_ACCESS_KEY_ID: accessKeyId,
    AWS_SECRET_ACCESS_KEY: secretAccessKey,
    ...(sessionToken === null ? {} : { AWS_SESSION_TOKEN: sessionToken }),
  }
}

/** Read anew for each run, so that keys can be exchanged meanwhile. Throws `backup.no-credentials`, `backup.file-exposed`. */
async function credentialsOf(file: string | null): Promise<S3Credentials> {
  const env = ['AWS_ACCESS_KEY_ID', 'AWS_SECRET_ACCESS_KEY', 'AWS_SESSION_TOKEN']
  const text =
    file === null
      ? env
          .flatMap((name) => (process.env[name] === undefined ? [] : [`${name}=${process.env[name] ?? ''}`]))
          .join('\n')
      : await readPrivate(file, 'The file with the keys of the S3 server')
  const credentials = parseCredentials(text)
  if (credentials !== null) return credentials
  throw new SteadError({
    code: 'backup.no-credentials',
    message: `There are no keys for the S3 server in ${file ?? 'the environment'}.`,
    hint: 'It takes aws_access_key_id and aws_secret_access_key: a line each in a file of mode 600, or two variables in capitals.',
  })
}
