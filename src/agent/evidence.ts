/**
 * What is kept of an instance when it trips a wire: its processes, their open files, sockets and memory maps, its last
 * output and what it was refused. Read from outside, without a word to the programs.
 *
 * Invariants: every file is bounded, also while it is read and put together (what programs can make long, such as their
 * arguments and memory maps, is never in memory whole), and readable by the agent's user only; environments and memory, which hold secrets, are
 * not kept; what cannot be read is left out, and the rest is still kept.
 */
import { closeSync, openSync, opendirSync, readlinkSync, readSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

const fileBytesMax = 256 * 1024
const commandBytesMax = 16 * 1024
/**
 * So much is read beyond what is kept, before values of secrets are taken out: one that was cut in two would not be found.
 * No form of a value is longer.
 */
const formBytesMax = 256 * 1024
const statusBytesMax = 8 * 1024
const processesMax = 200
const descriptorsMax = 500

export interface Evidence {
  readonly pids: readonly number[]
  /** Lines of text. */
  readonly output: readonly string[]
  readonly refused: readonly string[]
  /** A text without the values of secrets: programs may have got some as arguments. */
  readonly redact: (text: string) => string
}

/** Keeps it in a directory. Answers the names of the files. */
export function keepEvidence(directory: string, { pids, output, refused, redact }: Evidence): string[] {
  const seen = pids.slice(0, processesMax)
  const texts: Readonly<Record<string, string>> = {
    'processes.txt': joined(seen, redact, (pid) => describeProcess(pid, redact)),
    'files.txt': joined(seen, redact, describeFiles),
    'maps.txt': joined(seen, redact, (pid, bytesMax) => `process ${pid}\n${read(`/proc/${pid}/maps`, bytesMax)}`),
    'sockets.txt': describeSockets(seen[0], redact),
    'output.txt': joined(output, redact, (line) => line),
    'refused.txt': joined(refused, redact, (line) => line),
  }
  const kept = Object.entries(texts).filter(([, text]) => text !== '')
  for (const [name, text] of kept) {
    const bytes = Buffer.from(`${redact(text)}\n`)
    writeFileSync(join(directory, name), bytes.subarray(0, fileBytesMax), { mode: 0o600 })
  }
  return kept.map(([name]) => name)
}

type Redact = Evidence['redact']

/** Texts in lines, until a file is full; each is told how many bytes of it there is use for. */
function joined<Item>(
  items: readonly Item[],
  redact: Redact,
  describe: (item: Item, bytesMax: number) => string,
): string {
  const texts: string[] = []
  let left = fileBytesMax
  for (const item of items) {
    if (left <= 0) break
    const text = redact(describe(item, left + formBytesMax)).slice(0, left)
    texts.push(text)
    left -= Buffer.byteLength(text) + 1
  }
  return texts.join('\n')
}

function describeProcess(pid: number, redact: Redact): string {
  const status = read(`/proc/${pid}/status`, statusBytesMax)
    .split('\n')
    .filter((line) => /^(?:Name|State|PPid|Uid|Threads|VmRSS|Seccomp|CapEff):/.test(line))
  const args = read(`/proc/${pid}/cmdline`, commandBytesMax + formBytesMax)
  const command = redact(args).slice(0, commandBytesMax).replaceAll('\0', ' ').trim()
  return [`process ${pid}: ${command}`, `  runs ${link(`/proc/${pid}/exe`)} in ${link(`/proc/${pid}/cwd`)}`]
    .concat(status.map((line) => `  ${line}`))
    .join('\n')
}

function describeFiles(pid: number): string {
  const directory = `/proc/${pid}/fd`
  const numbers = names(directory, descriptorsMax)
  return [`process ${pid}`, ...numbers.map((number) => `  ${number} ${link(`${directory}/${number}`)}`)].join('\n')
}

/** All processes of an instance share one network. */
function describeSockets(pid: number | undefined, redact: Redact): string {
  if (pid === undefined) return ''
  return joined(
    ['tcp', 'tcp6', 'udp', 'udp6', 'unix'],
    redact,
    (kind, bytesMax) => `${kind}\n${read(`/proc/${pid}/net/${kind}`, bytesMax)}`,
  )
}

/** The first bytes of a file, at most so many. */
function read(path: string, bytesMax: number): string {
  const bytes = Buffer.allocUnsafe(bytesMax)
  let length = 0
  try {
    const descriptor = openSync(path, 'r')
    try {
      // Files of /proc answer a page at a time.
      for (let more = -1; more !== 0 && length < bytesMax; length += more)
        more = readSync(descriptor, bytes, length, bytesMax - length, null)
    } finally {
      closeSync(descriptor)
    }
  } catch {
    // It has ended meanwhile, or may not be looked at: what was read stays.
  }
  return bytes.toString('utf8', 0, length)
}

function link(path: string): string {
  try {
    return readlinkSync(path)
  } catch {
    return '?'
  }
}

/** The first names in a directory. */
function names(path: string, countMax: number): string[] {
  const found: string[] = []
  try {
    const directory = opendirSync(path)
    try {
      for (let entry = directory.readSync(); entry !== null && found.length < countMax; entry = directory.readSync())
        found.push(entry.name)
    } finally {
      directory.closeSync()
    }
  } catch {
    // As above.
  }
  return found
}
