/**
 * Files in memory for running programs: the texts that their output must not hold, and the secrets of those that take a new
 * one while they run. By instance, below a directory on a file system that is kept in memory.
 *
 * Invariants: a file is replaced whole; nobody but the program's user (and the agent) can read a secret; nothing outlives
 * its instance, and nothing outlives a reboot.
 */
import { createHash } from 'node:crypto'
import {
  chmodSync,
  chownSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmdirSync,
  rmSync,
  statfsSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { SteadError, systemCodeOf } from '../base/index.ts'
import { filterFile } from '../sandbox/index.ts'
import { mayChangeOwner } from './options.ts'

/** What statfs says of tmpfs. */
const tmpfs = 0x01021994
const shared = '/dev/shm'

/** A secret as a file. */
export interface SecretFile {
  readonly name: string
  readonly content: string
}

function isInMemory(path: string): boolean {
  try {
    return statfsSync(path).type === tmpfs
  } catch (error) {
    if (systemCodeOf(error) === 'ENOENT') return false
    throw error
  }
}

export class MemoryFiles {
  readonly #root: string
  /** False where this machine has no file system in memory. */
  readonly inMemory: boolean

  /** Below `runDir` where that is kept in memory (as /run is); else in shared memory; else below `runDir` all the same. */
  constructor(runDir: string) {
    const own = `stead-${process.getuid?.() ?? 0}-${createHash('sha256').update(runDir).digest('hex').slice(0, 12)}`
    const inShared = !isInMemory(runDir) && isInMemory(shared)
    this.#root = inShared ? join(shared, own) : join(runDir, 'secrets')
    this.inMemory = inShared || isInMemory(runDir)
  }

  /** The directory of an instance, made when it is first needed. Throws `agent.unsafe-directory`. */
  #dirOf(id: string): string {
    mkdirSync(this.#root, { recursive: true, mode: 0o711 })
    refuseForeign(this.#root)
    const directory = join(this.#root, id)
    mkdirSync(directory, { recursive: true, mode: 0o711 })
    return directory
  }

  /** Where the texts are that an instance's output must not hold. */
  textsPath(id: string): string {
    return join(this.#root, id, 'texts')
  }

  /** Makes these the texts. */
  putTexts(id: string, texts: readonly Uint8Array[]): void {
    this.#dirOf(id)
    replace(this.textsPath(id), filterFile(texts), 0o600, null)
  }

  /** Adds texts to those that are there: what a program once knew it may still print. */
  addTexts(id: string, texts: readonly Uint8Array[]): void {
    this.#dirOf(id)
    const before = existsSync(this.textsPath(id)) ? readFileSync(this.textsPath(id), 'utf8') : ''
    const lines = new Set([...before.split('\n'), ...filterFile(texts).split('\n')].filter((line) => line !== ''))
    replace(this.textsPath(id), [...lines, ''].join('\n'), 0o600, null)
  }

  /** The directory of an instance's secrets; its user's. */
  secretsDir(id: string): string {
    return join(this.#root, id, 'files')
  }

  /** Makes the files what they should be. Answers whether any was not. `uid`: whose they are. */
  putSecrets(id: string, files: readonly SecretFile[], uid: number): boolean {
    const directory = this.secretsDir(id)
    const owner = mayChangeOwner() ? uid : null
    this.#dirOf(id)
    mkdirSync(directory, { recursive: true, mode: 0o700 })
    const before = new Set(readdirSync(directory))
    let changed = false
    for (const { name, content } of files) {
      const path = join(directory, name)
      if (before.delete(name) && readFileSync(path, 'utf8') === content) continue
      replace(path, content, 0o400, owner)
      changed = true
    }
    for (const name of before) {
      rmSync(join(directory, name))
      changed = true
    }
    if (owner !== null) chownSync(directory, owner, owner)
    chmodSync(directory, owner === null ? 0o700 : 0o500)
    return changed
  }

  /** Takes away everything of an instance. */
  remove(id: string): void {
    rmSync(join(this.#root, id), { recursive: true, force: true })
  }

  /** Takes away what belongs to none of these. */
  sweep(ids: ReadonlySet<string>): void {
    if (!existsSync(this.#root)) return
    for (const id of readdirSync(this.#root)) if (!ids.has(id)) this.remove(id)
  }

  /** Lets go of the directory, if nothing is in it. */
  close(): void {
    try {
      rmdirSync(this.#root)
    } catch {
      // Instances go on, and their files with them.
    }
  }
}

function replace(path: string, content: string, mode: number, owner: number | null): void {
  const fresh = `${path}.new`
  rmSync(fresh, { force: true })
  writeFileSync(fresh, content, { mode })
  chmodSync(fresh, mode)
  if (owner !== null) chownSync(fresh, owner, owner)
  renameSync(fresh, path)
}

/** In shared memory anybody may have made the directory first. Throws `agent.unsafe-directory`. */
function refuseForeign(directory: string): void {
  const found = lstatSync(directory)
  const own = process.getuid === undefined || found.uid === process.getuid()
  if (found.isDirectory() && own && (found.mode & 0o022) === 0) return
  throw new SteadError({
    code: 'agent.unsafe-directory',
    message: `${directory} belongs to another user or may be written by others, and secrets lie there`,
    hint: 'Remove it, and see who made it.',
  })
}
