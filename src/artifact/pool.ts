/**
 * The files of all trees, each content once, named by its digest and whether it may be executed (links share permission
 * bits, so one content can be there twice).
 *
 * Invariants: what stands under a name has that digest and is on disk, never half written; nothing there is ever written
 * to again. New files are staged apart, forced to disk together, and only then get their names.
 */
import { constants, createReadStream } from 'node:fs'
import type { FileHandle } from 'node:fs/promises'
import {
  access,
  copyFile,
  link,
  lutimes,
  mkdir,
  open,
  readFile,
  readdir,
  rename,
  rm,
  stat,
  utimes,
  chmod,
} from 'node:fs/promises'
import { createHash } from 'node:crypto'
import { dirname, join } from 'node:path'
import { SteadError, systemCodeOf } from '../base/index.ts'
import type { Digest } from './bundle.ts'
import { mapLimited } from './concurrency.ts'
import { makeWorkDirectory, removeLitter, removeTree, syncFiles, syncPath, treeTimeSeconds } from './disk.ts'
import { digestOf } from './manifest.ts'
import { unreadable } from './scan.ts'
import type { SourceFile } from './scan.ts'

/** Files up to this size are read at once; larger ones are copied by the kernel (shared, where the file system can) and then read. */
const smallBytes = 1024 * 1024
const concurrency = 32

interface Content {
  readonly sha256: Digest
  readonly executable: boolean
}

export class FilePool {
  readonly #directory: string

  constructor(directory: string) {
    this.#directory = directory
  }

  /** Makes the directory and removes what dead processes staged. */
  async open(): Promise<void> {
    await mkdir(this.#directory, { recursive: true })
    await removeLitter(this.#directory)
  }

  /** A place for new files, to be published together or dropped. */
  async stage(): Promise<Staging> {
    return new Staging(this, await makeWorkDirectory(this.#directory))
  }

  async has(content: Content): Promise<boolean> {
    return exists(this.pathOf(content))
  }

  pathOf({ sha256, executable }: Content): string {
    return join(this.#directory, sha256.slice(0, 2), `${sha256}${executable ? '.x' : ''}`)
  }

  /** Puts a file of the pool into a tree. Throws `artifact.changed-while-reading` when it was swept meanwhile. */
  async place(content: Content, target: string): Promise<void> {
    try {
      await link(this.pathOf(content), target)
    } catch (error) {
      const code = systemCodeOf(error)
      if (code === 'ENOENT') throw changed(target, 'was swept meanwhile')
      // A file can have only so many names (65,000 on ext4), and some file systems know one only: then a copy.
      if (!['EMLINK', 'EPERM', 'ENOTSUP'].includes(code ?? '')) throw error
      await copyFile(this.pathOf(content), target, constants.COPYFILE_FICLONE)
      await seal(target, content.executable)
      await syncPath(target)
    }
  }

  /** Takes away the names of contents that are not what their names say, so that they are taken in anew. */
  async dropDamaged(contents: readonly Content[]): Promise<void> {
    await mapLimited(contents, 8, async (content) => {
      const path = this.pathOf(content)
      const present = await digestOfFile(path).catch(() => null)
      if (present !== content.sha256) await rm(path, { force: true })
    })
  }

  /** Bytes of all files. */
  async sizeBytes(): Promise<number> {
    let bytes = 0
    for (const group of await readdir(this.#directory)) {
      if (group.startsWith('.')) continue
      for (const name of await readdir(join(this.#directory, group)))
        bytes += (await stat(join(this.#directory, group, name)).catch(() => null))?.size ?? 0
    }
    return bytes
  }

  /** Removes the files that no tree holds. Nobody may stage or build meanwhile in this process. */
  async sweep(): Promise<void> {
    for (const group of await readdir(this.#directory)) {
      if (group.startsWith('.')) continue
      for (const name of await readdir(join(this.#directory, group))) {
        const path = join(this.#directory, group, name)
        const info = await stat(path).catch(() => null)
        if (info?.nlink === 1) await rm(path, { force: true })
      }
    }
  }
}

/** New files on their way into the pool. Disposing drops what was not published. */
export class Staging implements AsyncDisposable {
  readonly #pool: FilePool
  readonly #directory: string
  readonly #staged = new Map<string, Content>()
  #sequence = 0

  constructor(pool: FilePool, directory: string) {
    this.#pool = pool
    this.#directory = directory
  }

  /** Takes in a file, unless the pool has it. Its digest is that of the bytes taken in. Throws `artifact.changed-while-reading`, `artifact.unreadable`. */
  async add(file: SourceFile): Promise<Digest> {
    try {
      return await (file.sizeBytes <= smallBytes ? this.#addSmall(file) : this.#addLarge(file))
    } catch (error) {
      const ours = ['ENOENT', 'EACCES', 'EPERM', 'EISDIR'].includes(systemCodeOf(error) ?? '')
      throw ours ? unreadable(file.source, error) : error
    }
  }

  /** Takes in bytes as they come. Throws `artifact.content-refused` when they do not have the digest. */
  async receive(content: Content, write: (handle: FileHandle) => Promise<Digest>): Promise<void> {
    const work = this.#newPath()
    await using handle = await open(work, 'wx', 0o600)
    if ((await write(handle)) !== content.sha256) {
      throw new SteadError({
        code: 'artifact.content-refused',
        message: `a file of the bundle does not have its digest ${content.sha256}`,
        hint: 'The bundle was damaged on its way; fetch it again.',
        retry: 'now',
      })
    }
    await this.#keep(work, content)
  }

  /** Forces everything staged to disk and gives it its names in the pool. */
  async publish(): Promise<void> {
    await syncFiles([...this.#staged.keys()], this.#directory)
    const moves = [...this.#staged].map(([work, content]) => ({ work, path: this.#pool.pathOf(content) }))
    for (const group of new Set(moves.map(({ path }) => dirname(path)))) await mkdir(group, { recursive: true })
    // Never over a content that is there: its name belongs to the inode that trees share.
    await mapLimited(moves, concurrency, async ({ work, path }) => {
      if (!(await exists(path))) await rename(work, path)
    })
    this.#staged.clear()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await removeTree(this.#directory)
  }

  async #addSmall(file: SourceFile): Promise<Digest> {
    const bytes = await readFile(file.source)
    if (bytes.length !== file.sizeBytes) throw changed(file.source, 'changed while it was read')
    const content = { sha256: digestOf(bytes), executable: file.executable }
    if (await this.#pool.has(content)) return content.sha256
    const work = this.#newPath()
    await using handle = await open(work, 'wx', 0o600)
    await handle.writeFile(bytes)
    await this.#keep(work, content)
    return content.sha256
  }

  async #addLarge(file: SourceFile): Promise<Digest> {
    const work = this.#newPath()
    await copyFile(file.source, work, constants.COPYFILE_FICLONE | constants.COPYFILE_EXCL)
    if ((await stat(work)).size !== file.sizeBytes) throw changed(file.source, 'changed while it was read')
    const content = { sha256: await digestOfFile(work), executable: file.executable }
    if (await this.#pool.has(content)) await rm(work)
    else await this.#keep(work, content)
    return content.sha256
  }

  async #keep(work: string, content: Content): Promise<void> {
    await seal(work, content.executable)
    this.#staged.set(work, content)
  }

  #newPath(): string {
    return join(this.#directory, String(this.#sequence++))
  }
}

function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  )
}

/** sha256 of a file of any size. */
export async function digestOfFile(path: string): Promise<Digest> {
  const hash = createHash('sha256')
  for await (const chunk of createReadStream(path, { highWaterMark: smallBytes })) hash.update(chunk as Buffer)
  return hash.digest('hex')
}

/** Gives a directory its last touch: read-only, the common time. */
export async function sealDirectory(path: string): Promise<void> {
  await utimes(path, treeTimeSeconds, treeTimeSeconds)
  await chmod(path, 0o555)
}

/** Gives a link the common time. */
export async function sealLink(path: string): Promise<void> {
  await lutimes(path, treeTimeSeconds, treeTimeSeconds)
}

async function seal(path: string, executable: boolean): Promise<void> {
  await utimes(path, treeTimeSeconds, treeTimeSeconds)
  await chmod(path, executable ? 0o555 : 0o444)
}

function changed(path: string, what: string): SteadError {
  return new SteadError({
    code: 'artifact.changed-while-reading',
    message: `${path} ${what}`,
    hint: 'Try again when nothing writes there.',
    retry: 'now',
  })
}
