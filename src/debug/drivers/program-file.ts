/** The file of a process's program, and files that it sees: read as bytes, never run. Invariant: every read is bounded. */
import { closeSync, constants, existsSync, fstatSync, openSync, readFileSync, readlinkSync, readSync } from 'node:fs'
import { dirname, isAbsolute, join } from 'node:path'
import { buildIdOf, type Elf, readElf, symbolsOf } from '../native/elf.ts'
import type { ProcessFacts } from '../recipe.ts'

/** What the program's file says; null for what cannot be read, or is no program. */
export function elfOf({ pid }: Pick<ProcessFacts, 'pid'>): Elf | null {
  return elfAt(`/proc/${pid}/exe`)
}

/** The same of any file. */
export function elfAt(path: string): Elf | null {
  try {
    return readElf((offset, length) => readPart(path, offset, length))
  } catch {
    return null
  }
}

function readPart(path: string, offset: number, length: number): Buffer {
  if (!Number.isSafeInteger(offset) || offset < 0) return Buffer.alloc(0)
  const fd = openSync(path, 'r')
  try {
    const bytes = Buffer.alloc(length)
    return bytes.subarray(0, readSync(fd, bytes, 0, length, offset))
  } finally {
    closeSync(fd)
  }
}

/** Whether lines are known: in the program's own file, or in one of its build id on this machine or in its own files. */
export function knowsLines(facts: ProcessFacts, elf: Elf): boolean {
  if (symbolsOf(elf) === 'lines') return true
  const id = buildIdOf(elf)
  if (id === null) return false
  const path = `/usr/lib/debug/.build-id/${id.slice(0, 2)}/${id.slice(2)}.debug`
  return existsSync(path) || existsSync(`/proc/${facts.pid}/root${path}`)
}

/** Whether one of the files that it has mapped has such a name. */
export function hasMapped({ pid }: Pick<ProcessFacts, 'pid'>, name: RegExp): boolean {
  try {
    return name.test(readFileSync(`/proc/${pid}/maps`, 'utf8'))
  } catch {
    return false
  }
}

/** How many lines a file has that the process sees; null where it cannot be read, or is no plain file of a usual size. */
export function linesOf({ pid }: Pick<ProcessFacts, 'pid'>, path: string): number | null {
  try {
    const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK } = constants
    const fd = openSync(`/proc/${pid}/root${path}`, O_RDONLY | O_NOFOLLOW | O_NONBLOCK)
    try {
      const info = fstatSync(fd)
      if (!info.isFile() || info.size > sourceBytesMax) return null
      return readFileSync(fd, 'latin1').split('\n').length
    } finally {
      closeSync(fd)
    }
  } catch {
    return null
  }
}

const sourceBytesMax = 20_000_000
const ancestorsMax = 6
const suffixNamesMax = 12

/**
 * Files of the process that may be meant by a path of another machine: those with the same end, below the directories that
 * it works in. Paths as it sees them, the longest end first.
 */
export function filesLike(facts: ProcessFacts, path: string, moreRoots: readonly string[] = []): readonly string[] {
  const root = `/proc/${facts.pid}/root`
  const isThere = (file: string): boolean => existsSync(`${root}${file}`)
  const names = path.split('/').filter((name) => name !== '' && name !== '..' && name !== '.')
  const found = isAbsolute(path) && isThere(path) ? [path] : []
  const directories = [...new Set([...workingDirectories(facts), ...moreRoots])]
  for (let count = Math.min(names.length, suffixNamesMax); count > 0; count--) {
    const end = names.slice(-count).join('/')
    for (const directory of directories) {
      const file = join(directory, end)
      if (isThere(file)) found.push(file)
    }
  }
  return [...new Set(found)]
}

/** Where it works, where its script lies, and the directories above. */
function workingDirectories(facts: ProcessFacts): readonly string[] {
  const cwd = linkOf(`/proc/${facts.pid}/cwd`)
  const scripts = facts.argv.filter((word) => word.startsWith('/')).map((word) => dirname(word))
  const relative = cwd === null ? [] : facts.argv.filter((word) => /^[\w.]/.test(word) && word.includes('/'))
  const starts = [cwd, ...scripts, ...relative.map((word) => dirname(join(cwd ?? '/', word)))]
  return starts.flatMap((start) => (start === null ? [] : [start, ...above(start)]))
}

function above(directory: string): readonly string[] {
  const found: string[] = []
  for (let at = dirname(directory); at !== '/' && found.length < ancestorsMax; at = dirname(at)) found.push(at)
  return found
}

function linkOf(path: string): string | null {
  try {
    return readlinkSync(path)
  } catch {
    return null
  }
}
