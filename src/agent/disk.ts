/**
 * Watches the disk that this node keeps everything on. When it is nearly full the kept output of the noisiest goes first:
 * it is the one thing here that nobody has been promised.
 *
 * Invariant: nothing but rotated output is ever deleted.
 */
import { readdirSync, statfsSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { type Clock, messageOf } from '../base/index.ts'
import { type DiskState, levelOf } from '../protocol/index.ts'
import type { SandboxDriver } from '../sandbox/index.ts'

const lookMs = 2000

export interface DiskWatchOptions {
  readonly clock: Clock
  /** The disk of this directory; `instances` below it holds the records of programs. */
  readonly stateDir: string
  readonly sandbox: Pick<SandboxDriver, 'dropOldOutput'>
  readonly onNotice: (text: string) => void
  /** Called after every change that matters. */
  readonly onChange: (state: DiskState) => void
}

export class DiskWatch implements Disposable {
  readonly #options: DiskWatchOptions
  #state: DiskState
  #timer: Disposable | null = null

  constructor(options: DiskWatchOptions) {
    this.#options = options
    this.#state = this.#look()
    const tick = (): void => {
      this.#check()
      this.#timer = options.clock.after(lookMs, tick)
    }
    this.#timer = options.clock.after(lookMs, tick)
  }

  get state(): DiskState {
    return this.#state
  }

  [Symbol.dispose](): void {
    this.#timer?.[Symbol.dispose]()
  }

  #look(): DiskState {
    const { bavail, blocks, bsize } = statfsSync(this.#options.stateDir)
    const [freeBytes, totalBytes] = [bavail * bsize, blocks * bsize]
    return { freeBytes, totalBytes, level: levelOf(freeBytes, totalBytes) }
  }

  #check(): void {
    const before = this.#state
    let now = this.#look()
    if (now.level === 'critical') {
      const freed = this.#makeRoom()
      if (freed > 0) {
        this.#options.onNotice(`the disk is nearly full: ${Math.round(freed / 1e6)} MB of old output were deleted`)
        now = this.#look()
      }
    }
    this.#state = now
    // Small movements are told with the next that is not.
    const moved = Math.abs(now.freeBytes - before.freeBytes) > now.totalBytes / 100
    if (moved || now.level !== before.level) this.#options.onChange(now)
  }

  /** Deletes rotated output, the noisiest first, until it is no longer critical; answers the bytes. */
  #makeRoom(): number {
    let freed = 0
    const { sandbox, stateDir } = this.#options
    for (const recordDir of noisiestFirst(join(stateDir, 'instances'))) {
      try {
        freed += sandbox.dropOldOutput(recordDir)
      } catch (error) {
        // A record that cannot be read is no reason to stop watching: the others have output too.
        this.#options.onNotice(`old output stays in ${recordDir}: ${messageOf(error)}`)
      }
      if (this.#look().level !== 'critical') break
    }
    return freed
  }
}

/** The record directories below, those with the most output first. */
function noisiestFirst(instances: string): string[] {
  const recordDirs = directories(instances).flatMap(directories)
  const sized = recordDirs.map((recordDir) => ({ recordDir, bytes: outputBytes(join(recordDir, 'output')) }))
  return sized.toSorted((a, b) => b.bytes - a.bytes).map(({ recordDir }) => recordDir)
}

function outputBytes(directory: string): number {
  return list(directory).reduce(
    (sum, name) => sum + (statSync(join(directory, name), { throwIfNoEntry: false })?.size ?? 0),
    0,
  )
}

/** The directories below one; beside the attempts of an instance lie files that are none. */
function directories(directory: string): string[] {
  return list(directory)
    .map((name) => join(directory, name))
    .filter((path) => statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false)
}

function list(directory: string): string[] {
  try {
    return readdirSync(directory)
  } catch {
    // Gone meanwhile, or no directory.
    return []
  }
}
