/**
 * Certificates that somebody else puts into a directory, taken up when they change. A certificate and its key are
 * `NAME.crt` or `NAME.pem` beside `NAME.key`, or `fullchain.pem` beside `privkey.pem` in a directory of their own, as
 * certbot leaves them. A watch is a hint; that every pair is looked at again and again is the truth. What replaces a good
 * pair counts only when it is good itself: until then the old one stays in use.
 */
import { watch } from 'node:fs'
import type { FSWatcher } from 'node:fs'
import { readdir, readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { SteadError } from '../../base/index.ts'
import type { Clock } from '../../base/index.ts'
import { covers } from '../certificate.ts'
import type { Certificate } from '../certificate.ts'
import type { CertificateDriver, HostState } from '../driver.ts'
import { bestFor, hostsMax } from '../hosts.ts'
import { Watchers } from '../watchers.ts'
import { unreadable } from './private-files.ts'
import { readServable } from './servable.ts'

/** How often the directory is looked at, whatever the watch says, and how long a hint waits for the other file of a pair. */
const lookMs = 10_000
const settleMs = 50

const entriesMax = 5000

export interface FilesOptions {
  readonly dir: string
  readonly clock: Clock
}

interface Pair {
  readonly chainFile: string
  readonly keyFile: string
}

interface Held {
  /** Times and sizes of both files as they were read. */
  readonly stamp: string
  readonly certificate: Certificate | null
  readonly problem: SteadError | null
}

/** Opens a directory and reads what is in it. Throws `certificates.unreadable` when there is no such directory. */
export async function fileCertificates({ dir, clock }: FilesOptions): Promise<CertificateDriver> {
  const files = new Files(dir, clock)
  await files.look()
  files.follow()
  return files
}

class Files implements CertificateDriver {
  readonly name = 'files'
  readonly capabilities = { hosts: 'found', wildcards: true, trusted: 'depends' } as const
  readonly #dir: string
  readonly #clock: Clock
  readonly #watchers = new Watchers()
  #held: ReadonlyMap<string, Held> = new Map()
  #wanted: readonly string[] = []
  #hint: FSWatcher | null = null
  #timer: Disposable | null = null
  #looking: Promise<void> = Promise.resolve()
  #closed = false

  constructor(dir: string, clock: Clock) {
    this.#dir = dir
    this.#clock = clock
  }

  find(host: string): Certificate | null {
    const certificates = [...this.#held.values()].flatMap(({ certificate }) => certificate ?? [])
    return bestFor(certificates, host, this.#clock.nowMs())
  }

  challenge(): null {
    return null
  }

  want(hosts: readonly string[]): void {
    this.#wanted = hosts.slice(0, hostsMax)
  }

  list(): HostState[] {
    const bad = [...this.#held.values()].filter(({ problem }) => problem !== null)
    return this.#wanted.toSorted().map((host) => {
      // A wildcard is looked up by a name below it.
      const name = host.replace('*', 'any')
      const certificate = this.find(name)
      const own = bad.find((held) => held.certificate !== null && covers(held.certificate, name))
      if (certificate !== null) return { host, untilMs: certificate.untilMs, problem: own?.problem ?? null }
      return { host, untilMs: null, problem: (own ?? bad[0])?.problem ?? missing(host, this.#dir) }
    })
  }

  onChange(run: () => void): Disposable {
    return this.#watchers.add(run)
  }

  /** Reads what has changed. */
  async look(): Promise<void> {
    const next = new Map<string, Held>()
    let changed = false
    for (const pair of await this.#pairs()) {
      const before = this.#held.get(pair.chainFile)
      const held = await this.#read(pair, before)
      if (held !== before) changed = true
      next.set(pair.chainFile, held)
    }
    changed ||= next.size !== this.#held.size
    this.#held = next
    if (changed && !this.#closed) this.#watchers.tell()
  }

  /** Goes on looking until disposed. */
  follow(): void {
    const again = (delayMs: number): void => {
      this.#timer?.[Symbol.dispose]()
      if (this.#closed) return
      this.#timer = this.#clock.after(delayMs, () => {
        // A directory that is away for a moment takes nothing away.
        this.#looking = this.look().catch(() => undefined)
        void this.#looking.then(() => again(lookMs))
      })
    }
    again(lookMs)
    try {
      this.#hint = watch(this.#dir, { recursive: true }, () => again(settleMs))
      this.#hint.on('error', () => this.#hint?.close())
    } catch {
      // Without hints a change is seen when it is looked for.
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true
    this.#hint?.close()
    this.#timer?.[Symbol.dispose]()
    await this.#looking
  }

  async #pairs(): Promise<Pair[]> {
    try {
      const entries = await readdir(this.#dir, { withFileTypes: true })
      const names = new Set(entries.map(({ name }) => name))
      const pairs: Pair[] = []
      for (const entry of entries.slice(0, entriesMax)) {
        const path = join(this.#dir, entry.name)
        const base = /^(.+)\.(?:crt|pem)$/.exec(entry.name)?.[1]
        if (base !== undefined && names.has(`${base}.key`)) {
          pairs.push({ chainFile: path, keyFile: join(this.#dir, `${base}.key`) })
        } else if (entry.isDirectory() || entry.isSymbolicLink()) {
          const inside = { chainFile: join(path, 'fullchain.pem'), keyFile: join(path, 'privkey.pem') }
          if (await isThere(inside.chainFile)) pairs.push(inside)
        }
      }
      return pairs.sort((a, b) => (a.chainFile < b.chainFile ? -1 : 1))
    } catch (cause) {
      throw unreadable(this.#dir, cause)
    }
  }

  async #read({ chainFile, keyFile }: Pair, before: Held | undefined): Promise<Held> {
    let stamp = ''
    try {
      stamp = await stampOf(chainFile, keyFile)
      if (before?.stamp === stamp) return before
      const [chain, key] = await Promise.all([readFile(chainFile, 'utf8'), readFile(keyFile, 'utf8')])
      const certificate = readServable({ chain, chainFile, key, keyFile }, this.#clock.nowMs())
      return { stamp, certificate, problem: null }
    } catch (cause) {
      return { stamp, certificate: before?.certificate ?? null, problem: unreadable(keyFile, cause) }
    }
  }
}

async function stampOf(...files: readonly string[]): Promise<string> {
  const stats = await Promise.all(files.map((file) => stat(file, { bigint: true })))
  return stats.map(({ ino, size, mtimeNs }) => `${ino}:${size}:${mtimeNs}`).join(' ')
}

async function isThere(file: string): Promise<boolean> {
  return stat(file).then(
    () => true,
    () => false,
  )
}

function missing(host: string, dir: string): SteadError {
  return new SteadError({
    code: 'certificates.missing',
    message: `No certificate in ${dir} stands for ${host}.`,
    hint: 'Put it there with its key, as NAME.crt and NAME.key or fullchain.pem and privkey.pem; it is taken up at once.',
  })
}
