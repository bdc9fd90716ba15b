/**
 * Core files: what a program held in memory when a signal ended it, kept for instances that ask for it, on machines where an
 * administrator has allowed it. The kernel has one setting for a whole machine, so that it is switched by hand; it hands cores
 * to a few lines of shell, which keep those that are wanted and drop the others.
 *
 * Invariants: without that switch nothing of the machine's is changed. A core is root's alone, as big as was asked at most, one
 * of an instance, and goes with the end that it belongs to, or with the instance. The program can neither name where it goes nor write there.
 */
import { existsSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { SteadError } from '../base/index.ts'
import type { CoreFile } from '../protocol/index.ts'

/** Gone with the next start of the machine, as the kernel's setting is. */
const place = '/run/stead-cores'
const wishes = `${place}/wanted`
const keeperFile = `${place}/keep`
const formerFile = `${place}/former`
const kernel = { pattern: '/proc/sys/kernel/core_pattern', atOnce: '/proc/sys/kernel/core_pipe_limit' }
const pattern = `|/bin/sh ${keeperFile} %P`
/** Cores that are written at the same time; the kernel drops more, and an end is told when its core is written. */
const atOnce = 4

/**
 * Run by the kernel as root, with the id of a process and its core on its input. A process is known by its limit group, which
 * is named as its sandbox is.
 */
const keeper = `PATH=/usr/sbin:/usr/bin:/sbin:/bin
umask 077
id=$(sed -n 's|.*/stead[^/]*/\\([A-Za-z0-9.-]*\\).*|\\1|p' "/proc/$1/cgroup" | head -n 1)
[ -n "$id" ] && read -r bytes path <"${wishes}/$id" || exit 0
head -c "$bytes" >"$path.new" && mv "$path.new" "$path"
`

/** Why no core is kept on this machine, and what to do; null where one is. */
export function coreRefusal(): { readonly reason: string; readonly hint: string } | null {
  if (process.platform !== 'linux')
    return { reason: 'core files are kept on Linux only', hint: 'Run the part on a server with Linux.' }
  const now = readFileSync(kernel.pattern, 'utf8').trim()
  // Nobody but root sees that it is there, and can say what is wanted.
  if (now === pattern && existsSync(keeperFile)) return null
  const hint = 'An administrator of the machine allows it: `stead core --on`, there, as root.'
  if (now.startsWith('|') || now.startsWith('@')) {
    const to = now.slice(1).split(' ')[0] ?? ''
    return { reason: `the kernel of this machine hands core files to ${to}`, hint: `They may be there; else: ${hint}` }
  }
  return { reason: 'this machine keeps no core files of sandboxes', hint }
}

/** Throws `agent.cores-refused` where something else takes cores that would miss them. */
export function allowCores(): void {
  needRootOfLinux()
  const former = readFileSync(kernel.pattern, 'utf8').trim()
  if (former !== pattern && /^[|@]/.test(former))
    throw refused(
      `core files of this machine go to ${former.slice(1).split(' ')[0]} already, which would miss them`,
      `Look for them there, or take it out first: sysctl -w kernel.core_pattern=core.`,
    )
  mkdirSync(wishes, { recursive: true, mode: 0o700 })
  writeFileSync(keeperFile, keeper, { mode: 0o600 })
  if (former !== pattern) {
    writeFileSync(formerFile, JSON.stringify([former, readFileSync(kernel.atOnce, 'utf8').trim()]), { mode: 0o600 })
    writeFileSync(kernel.atOnce, String(atOnce))
    writeFileSync(kernel.pattern, pattern)
  }
}

/** Puts the machine's setting back as it was. Answers whether it was allowed. Throws `agent.cores-refused`. */
export function forbidCores(): boolean {
  needRootOfLinux()
  if (readFileSync(kernel.pattern, 'utf8').trim() !== pattern) return false
  const [former, limit]: readonly string[] = existsSync(formerFile)
    ? JSON.parse(readFileSync(formerFile, 'utf8'))
    : ['core', '0']
  writeFileSync(kernel.pattern, former ?? 'core')
  writeFileSync(kernel.atOnce, limit ?? '0')
  rmSync(keeperFile, { force: true })
  return true
}

/** The core of one instance. */
export class Cores {
  readonly #path: string
  #wish: { readonly file: string; readonly bytesMax: number } | null = null

  /** In the instance's own directory, where nobody but root reads. */
  constructor(directory: string) {
    this.#path = join(directory, 'core')
  }

  /** Says that the sandbox may leave one; answers a sentence where the machine does not allow it. */
  want(sandbox: string, bytesMax: number | undefined): string | null {
    this.forget()
    if (bytesMax === undefined) return null
    const refusal = coreRefusal()
    if (refusal !== null) return `no core file would be kept: ${refusal.reason}. ${refusal.hint}`
    const file = join(wishes, sandbox)
    writeFileSync(file, `${bytesMax} ${this.#path}\n`, { mode: 0o600 })
    this.#wish = { file, bytesMax }
    return null
  }

  /** For a sandbox that an earlier agent started. */
  adopt(sandbox: string): void {
    const file = join(wishes, sandbox)
    try {
      this.#wish = { file, bytesMax: Number(readFileSync(file, 'utf8').split(' ')[0]) }
    } catch {
      // It had none.
    }
  }

  /** Nothing more is to come. */
  forget(): void {
    if (this.#wish !== null) rmSync(this.#wish.file, { force: true })
    this.#wish = null
  }

  /** The core that belongs to the end that has just been, which takes the place of an earlier one's. */
  ended(): CoreFile | null {
    const wish = this.#wish
    const found = wish === null ? undefined : statSync(this.#path, { throwIfNoEntry: false })
    const since = wish === null ? undefined : statSync(wish.file, { throwIfNoEntry: false })
    this.forget()
    const isOfThis = found !== undefined && since !== undefined && found.mtimeMs >= since.mtimeMs
    if (!isOfThis) rmSync(this.#path, { force: true })
    return isOfThis && wish !== null ? { bytes: found.size, isCut: found.size >= wish.bytesMax } : null
  }

  /** Where it lies; null where there is none. */
  get path(): string | null {
    return existsSync(this.#path) ? this.#path : null
  }
}

function needRootOfLinux(): void {
  if (process.platform !== 'linux' || process.getuid?.() !== 0)
    throw refused('only root of a Linux can say where core files go', 'Run it as root.')
}

function refused(message: string, hint: string): SteadError {
  return new SteadError({ code: 'agent.cores-refused', message, hint })
}
