/**
 * Paths of the client's machine and of the process, which may have files of its own. Pure but for what it has learned.
 *
 * With both roots named, one is exchanged for the other. Without, a file of the client is the one of the process that
 * shares the longest end of its path; what was found so is found back.
 */

export class Paths {
  readonly #sameFiles: boolean
  #local = ''
  #remote = ''
  /** From a path inside to that of the client. */
  readonly #learned = new Map<string, string>()

  /** `sameFiles`: the process sees the files of this machine. */
  constructor({ sameFiles }: { readonly sameFiles: boolean }) {
    this.#sameFiles = sameFiles
  }

  configure(local: string, remote: string): void {
    this.#local = local.replace(/\/$/, '')
    this.#remote = remote.replace(/\/$/, '')
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
    return found
  }

  /** Null where the client has no such file: it asks for the text then. */
  outside(file: string): string | null {
    if (!file.startsWith('/')) return null
    return exchange(file, this.#remote, this.#local) ?? this.#learned.get(file) ?? (this.#sameFiles ? file : null)
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
