/** Takes the `#SBATCH` lines of a script apart: options with their lines, as sbatch reads them. Pure. */
import { SteadError } from '../base/index.ts'

export interface ScriptOption {
  /** The long name, without dashes. */
  readonly name: string
  /** Null for one that takes none. */
  readonly value: string | null
  /** `commandLine`: not in the script, but in the words that it was submitted with. */
  readonly line: number
}

export const commandLine = 0

/** For a script that cannot be taken as it is. */
export function badScript(line: number, message: string, hint?: string): SteadError {
  return new SteadError({
    code: 'batch.bad-script',
    message: line === commandLine ? message : `line ${line}: ${message}`,
    hint:
      hint ?? `${line === commandLine ? 'Change it' : 'Change the line'}, or take it out where the job can do without.`,
  })
}

/** Short options and the long ones that they stand for. */
const short: Readonly<Record<string, string>> = {
  A: 'account',
  a: 'array',
  B: 'extra-node-info',
  b: 'begin',
  C: 'constraint',
  c: 'cpus-per-task',
  D: 'chdir',
  d: 'dependency',
  e: 'error',
  F: 'nodefile',
  G: 'gpus',
  H: 'hold',
  h: 'help',
  i: 'input',
  J: 'job-name',
  k: 'no-kill',
  L: 'licenses',
  M: 'clusters',
  m: 'distribution',
  N: 'nodes',
  n: 'ntasks',
  O: 'overcommit',
  o: 'output',
  p: 'partition',
  Q: 'quiet',
  q: 'qos',
  S: 'core-spec',
  s: 'oversubscribe',
  t: 'time',
  v: 'verbose',
  W: 'wait',
  w: 'nodelist',
  x: 'exclude',
}

/** Options that take no value, or take one only behind `=`. */
const bare: ReadonlySet<string> = new Set([
  'contiguous',
  'exclusive',
  'get-user-env',
  'hold',
  'ignore-pbs',
  'no-kill',
  'no-requeue',
  'nice',
  'overcommit',
  'oversubscribe',
  'parsable',
  'quiet',
  'reboot',
  'requeue',
  'spread-job',
  'test-only',
  'use-min-nodes',
  'verbose',
  'wait',
])

const hintsOfWords: Readonly<Record<string, string>> = {
  hetjob: 'Jobs of several kinds in one are not known: submit each kind as a job of its own.',
  packjob: 'Jobs of several kinds in one are not known: submit each kind as a job of its own.',
}

const linesMax = 10_000

/** The options of the lines before the first command. Throws `batch.bad-script`. */
export function optionsOf(text: string): ScriptOption[] {
  const lines = text.split('\n')
  if (!/^#!\s*\//.test(lines[0] ?? ''))
    throw badScript(1, 'a script begins with #! and the path of what runs it', 'For example: #!/bin/bash')
  if (text.includes('\r\n')) throw badScript(1, 'the lines end as on DOS', 'Convert it: sed -i "s/\\r$//" SCRIPT')
  const options: ScriptOption[] = []
  for (const [index, line] of lines.slice(0, linesMax).entries()) {
    if (/^#SBATCH(?:\s|$)/.test(line)) options.push(...readLine(line.slice('#SBATCH'.length), index + 1))
    else if (line.trim() !== '' && !line.trimStart().startsWith('#')) break
  }
  return options
}

function readLine(text: string, line: number): ScriptOption[] {
  const { options, rest } = readWords(wordsOf(text, line), line)
  const [stray] = rest
  if (stray !== undefined) throw badScript(line, `${stray} is no option of sbatch`, hintsOfWords[stray])
  return options
}

/** The words of sbatch itself: its options, and what follows them: a script and its arguments. Throws `batch.bad-script`. */
export function optionsOfWords(words: readonly string[]): { options: ScriptOption[]; rest: readonly string[] } {
  return readWords(words, commandLine)
}

/** Options up to the first word that is none. */
function readWords(words: readonly string[], line: number): { options: ScriptOption[]; rest: readonly string[] } {
  const options: ScriptOption[] = []
  for (let at = 0; at < words.length; at++) {
    const word = words[at] ?? ''
    if (!word.startsWith('-') || word === '-') return { options, rest: words.slice(at) }
    if (word === '--') return { options, rest: words.slice(at + 1) }
    const long = /^--([a-z][a-z0-9-]*)(?:=([\s\S]*))?$/.exec(word)
    const letter = /^-([A-Za-z])([\s\S]*)$/.exec(word)
    const name = long?.[1] ?? short[letter?.[1] ?? '']
    if (name === undefined) throw badScript(line, `${word} is no option of sbatch`)
    let value = long === null ? (letter?.[2] === '' ? null : (letter?.[2] ?? null)) : (long[2] ?? null)
    if (value === null && !bare.has(name)) {
      at += 1
      value = words[at] ?? null
      if (value === null) throw badScript(line, `${word} needs a value`)
    }
    options.push({ name, value, line })
  }
  return { options, rest: [] }
}

/** Words as sbatch has them: quotes hold together, a backslash takes the next character, # begins a remark. */
function wordsOf(text: string, line: number): string[] {
  const words: string[] = []
  let word: string | null = null
  let quote = ''
  for (let at = 0; at < text.length; at++) {
    const letter = text[at] ?? ''
    if (quote !== '') {
      if (letter === quote) quote = ''
      else word = (word ?? '') + letter
    } else if (letter === '"' || letter === "'") {
      quote = letter
      word ??= ''
    } else if (letter === '\\') {
      at += 1
      word = (word ?? '') + (text[at] ?? '')
    } else if (letter === '#' && word === null) break
    else if (/\s/.test(letter)) {
      if (word !== null) words.push(word)
      word = null
    } else word = (word ?? '') + letter
  }
  if (quote !== '') throw badScript(line, `a quote ${quote} is not closed`)
  return word === null ? words : [...words, word]
}
