/**
 * Paths of the client's machine and of the process, which may have files of its own. Pure but for what it has learned.
 *
 * With both roots named, one is exchanged for the other. Without, a file of the client is the one of the process that
 * shares the longest end of its path; what was found so is found back. Where the process names its files below the root of a
 * project, that root is learned with the first of them, and the others are looked for below it.
 */

export class Paths {
  readonly #sameFiles: boolean
  #local = ''
  #remote = ''
  /** From a path inside to that of the client. */
  readonly #learned = new Map<string, string>()
  readonly #belowRoot: boolean
  /** Null while it is not known. */
  #root: string | null = null

  /** `sameFiles`: the process sees the files of this machine. `belowRoot`: it names its own from the root of a project. */
  constructor({ sameFiles, belowRoot = false }: { readonly sameFiles: boolean; readonly belowRoot?: boolean }) {
    this.#sameFiles = sameFiles && !belowRoot
    this.#belowRoot = belowRoot
  }

  configure(local: string, remote: string): void {
    this.#local = local.replace(/\/$/, '')
    this.#remote = remote.replace(/\/$/, '')
    if (this.#belowRoot && this.#local !== '' && this.#remote === '') this.#root = this.#local
  }

  /** The path with the one root exchanged for the other; as it is where no roots were named. */
  moved(path: string): string {
    return exchange(path, this.#local, this.#remote) ?? path
  }

  inside(path: string, files: readonly string[]): string {
    const moved = exchange(path, this.#local, this.#remote)
    if (moved !== null) return moved
    const found = longestEnd(path, files) ?? path
    this.#learned.set(found, path)
    if (this.#belowRoot && path.endsWith(found)) this.#root ??= path.slice(0, -found.length)
    return found
  }

  /** Null where the client has no such file: it asks for the text then. */
  outside(file: string): string | null {
    if (!file.startsWith('/')) return null
    const found = exchange(file, this.#remote, this.#local) ?? this.#learned.get(file)
    if (found !== undefined) return found
    if (this.#root !== null) return `${this.#root}${file}`
    return this.#sameFiles ? file : null
  }
}

function exchange(path: string, from: string, to: string): string | null {
  return from !== '' && to !== '' && path.startsWith(`${from}/`) ? `${to}${path.slice(from.length)}` : null
}

/** The one with most names in common from the end; null where not even the last is. */
function longestEnd(path: string, files: readonly string[]): string | null {
  const wanted = path.split('/').toReversed()
  let best: string | null = null
  let bestCount = 0
  for (const file of files) {
    const names = file.split('/').toReversed()
    let count = 0
    while (count < wanted.length && wanted[count] === names[count]) count++
    if (count > bestCount) [best, bestCount] = [file, count]
  }
  return best
}
