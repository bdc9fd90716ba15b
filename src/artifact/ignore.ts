/**
 * Which paths stay out of a bundle: what never belongs in one, and what the directory's `.steadignore` names.
 *
 * The patterns are the simple part of gitignore's: one a line, `#` starts a comment, `*` and `?` stay within a name, `**`
 * is any number of names, a slash in front or in the middle ties the pattern to the top, a slash at the end means
 * directories only, `!` takes back an earlier line; the last line that matches decides. There are no character classes.
 * What is below an ignored directory cannot be taken back. Matching takes at most quadratic time, whatever the pattern.
 */
import { SteadError } from '../base/index.ts'

/** Whether a path (relative, forward slashes) stays out. */
export type Ignore = (path: string, isDirectory: boolean) => boolean

const textBytesMax = 64 * 1024
const patternsMax = 1000

/** Never in a bundle, also not when `.steadignore` says so: history, our own files, npm's tokens, caches, leftovers of editors. */
const always: readonly string[] = [
  '.git',
  '.stead',
  '.npmrc',
  'node_modules/.cache',
  '**/node_modules/.cache',
  '__pycache__',
  '*.pyc',
  '*~',
  '.*.swp',
  '.*.swo',
  '.#*',
  '#*#',
  '.DS_Store',
]

interface Pattern {
  readonly names: readonly string[]
  readonly negated: boolean
  readonly directoryOnly: boolean
}

function compile(line: string): Pattern {
  const negated = line.startsWith('!')
  const text = negated || line.startsWith('\\') ? line.slice(1) : line
  const directoryOnly = text.endsWith('/')
  const body = directoryOnly ? text.slice(0, -1) : text
  const names = body.replace(/^\//, '').split('/')
  return { names: body.includes('/') ? names : ['**', ...names], negated, directoryOnly }
}

/** Matches with stars by stepping back to the last star only, which is enough: quadratic, never exponential. */
function matchWithStars<P, T>(
  pattern: readonly P[],
  text: readonly T[],
  isStar: (item: P) => boolean,
  matchOne: (item: P, value: T) => boolean,
): boolean {
  let at = 0
  let star = -1
  let starEnd = 0
  let position = 0
  while (position < text.length) {
    const item = pattern[at]
    const value = text[position]
    if (item !== undefined && isStar(item)) {
      star = at++
      starEnd = position
    } else if (item !== undefined && value !== undefined && matchOne(item, value)) {
      at++
      position++
    } else if (star >= 0) {
      at = star + 1
      position = ++starEnd
    } else {
      return false
    }
  }
  return pattern.slice(at).every(isStar)
}

function matchName(pattern: string, name: string): boolean {
  if (!/[*?]/.test(pattern)) return pattern === name
  return matchWithStars(
    Array.from(pattern),
    Array.from(name),
    (item) => item === '*',
    (item, value) => item === '?' || item === value,
  )
}

function matcher(patterns: readonly Pattern[]): Ignore {
  return (path, isDirectory) => {
    const names = path.split('/')
    const last = patterns.findLast(
      (pattern) =>
        (isDirectory || !pattern.directoryOnly) &&
        matchWithStars(pattern.names, names, (item) => item === '**', matchName),
    )
    return last !== undefined && !last.negated
  }
}

/** A matcher for lines in the syntax above. */
export function ignoreLines(lines: readonly string[]): Ignore {
  return matcher(lines.map(compile))
}

const ignoreAlways = ignoreLines(always)

/** What stays out of a bundle, given the text of `.steadignore` (empty when there is none). Throws `artifact.ignore-refused`. */
export function bundleIgnore(text: string): Ignore {
  const lines = text
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '' && !line.startsWith('#'))
  if (Buffer.byteLength(text) > textBytesMax || lines.length > patternsMax) {
    throw new SteadError({
      code: 'artifact.ignore-refused',
      message: `.steadignore has ${lines.length} patterns in ${Buffer.byteLength(text)} bytes; at most ${patternsMax} in ${textBytesMax} are read`,
      hint: 'Name directories instead of single files.',
    })
  }
  const ignoreNamed = ignoreLines(lines)
  return (path, isDirectory) => ignoreAlways(path, isDirectory) || ignoreNamed(path, isDirectory)
}
