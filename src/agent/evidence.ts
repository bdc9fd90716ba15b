/**
 * What is kept of an instance when it trips a wire: its processes, their open files, sockets and memory maps, its last
 * output and what it was refused. Read from outside, without a word to the programs.
 *
 * Invariants: every file is bounded and readable by the agent's user only; environments and memory, which hold secrets, are
 * not kept; what cannot be read is left out, and the rest is still kept.
 */
import { readdirSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

const fileBytesMax = 256 * 1024
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
    'processes.txt': seen.map(describeProcess).join('\n'),
    'files.txt': seen.map(describeFiles).join('\n'),
    'maps.txt': seen.map((pid) => `process ${pid}\n${read(`/proc/${pid}/maps`)}`).join('\n'),
    'sockets.txt': describeSockets(seen[0]),
    'output.txt': output.join('\n'),
    'refused.txt': refused.join('\n'),
  }
  const kept = Object.entries(texts).filter(([, text]) => text !== '')
  for (const [name, text] of kept) {
    const bytes = Buffer.from(`${redact(text)}\n`)
    writeFileSync(join(directory, name), bytes.subarray(0, fileBytesMax), { mode: 0o600 })
  }
  return kept.map(([name]) => name)
}

function describeProcess(pid: number): string {
  const status = read(`/proc/${pid}/status`)
    .split('\n')
    .filter((line) => /^(?:Name|State|PPid|Uid|Threads|VmRSS|Seccomp|CapEff):/.test(line))
  const command = read(`/proc/${pid}/cmdline`).replaceAll('\0', ' ').trim()
  return [`process ${pid}: ${command}`, `  runs ${link(`/proc/${pid}/exe`)} in ${link(`/proc/${pid}/cwd`)}`]
    .concat(status.map((line) => `  ${line}`))
    .join('\n')
}

function describeFiles(pid: number): string {
  const directory = `/proc/${pid}/fd`
  const numbers = names(directory).slice(0, descriptorsMax)
  return [`process ${pid}`, ...numbers.map((number) => `  ${number} ${link(`${directory}/${number}`)}`)].join('\n')
}

/** All processes of an instance share one network. */
function describeSockets(pid: number | undefined): string {
  if (pid === undefined) return ''
  return ['tcp', 'tcp6', 'udp', 'udp6', 'unix'].map((kind) => `${kind}\n${read(`/proc/${pid}/net/${kind}`)}`).join('\n')
}

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}

function link(path: string): string {
  try {
    return readlinkSync(path)
  } catch {
    return '?'
  }
}

function names(directory: string): string[] {
  try {
    return readdirSync(directory)
  } catch {
    return []
  }
}
