/**
 * Has a Python 3.14 run a file, as `sys.remote_exec` does and by the same table: it was made for debuggers, and the program runs
 * the file itself, when it next may. Needs no Python on this machine.
 *
 * Invariants: nothing is written before the whole way there was found to be as the table says, and only into the three fields that
 * are there for it. A program that was told to refuse (PYTHON_DISABLE_REMOTE_DEBUG) is not written to.
 */
import { closeSync, openSync, readFileSync, readSync, writeSync } from 'node:fs'
import { offsetsBytes, pleaseStop, type RemoteOffsets, remoteOffsets } from '../python/offsets.ts'
import type { ProcessFacts } from '../recipe.ts'
import { processGone, refused } from '../refusals.ts'
import { elfAt } from './program-file.ts'

export interface RemoteDoor {
  /** Asks the process to run a file, by the path that it sees. Throws `debug.process-gone`, `debug.refused`. */
  readonly run: (path: string) => void
}

/** Null for what is no Python of that version, refuses, or cannot be read. Does nothing to it. */
export function findRemoteDoor(facts: Pick<ProcessFacts, 'pid'>): RemoteDoor | null {
  try {
    return using(facts, 'r', (memory) => {
      const found = threadOf(facts, memory)
      return found === null ? null : { run: (path) => run(facts, path) }
    })
  } catch {
    return null
  }
}

function run(facts: Pick<ProcessFacts, 'pid'>, path: string): void {
  const bytes = Buffer.from(`${path}\0`)
  using(facts, 'r+', (memory) => {
    const found = threadOf(facts, memory)
    if (found === null) throw processGone(facts)
    const { thread, offsets } = found
    if (bytes.length > offsets.pathBytesMax)
      throw refused(`the path ${path} is too long for Python`, 'Use a shorter one.')
    writeSync(memory, bytes, 0, bytes.length, thread + offsets.path)
    const one = Buffer.from([1, 0, 0, 0])
    writeSync(memory, one, 0, one.length, thread + offsets.pending)
    // One byte alone: the program sets flags of its own beside it.
    const flags = read(memory, thread + offsets.flags, 1)
    flags[0] = (flags[0] ?? 0) | pleaseStop
    writeSync(memory, flags, 0, 1, thread + offsets.flags)
  })
}

/** Its main thread, where it lets files be run. */
function threadOf(
  facts: Pick<ProcessFacts, 'pid'>,
  memory: number,
): { readonly thread: number; readonly offsets: RemoteOffsets } | null {
  const state = stateAddress(facts)
  if (state === null) return null
  const offsets = remoteOffsets(read(memory, state, offsetsBytes))
  if (offsets === null) return null
  const interpreter = pointer(memory, state + offsets.interpreters)
  if (interpreter === 0 || read(memory, interpreter + offsets.enabled, 4).readInt32LE() !== 1) return null
  const thread = pointer(memory, interpreter + offsets.mainThread)
  return thread === 0 ? null : { thread, offsets }
}

/** Where its state begins in memory: in the program itself, or in the library that Python is. */
function stateAddress({ pid }: Pick<ProcessFacts, 'pid'>): number | null {
  const rows = readFileSync(`/proc/${pid}/maps`, 'utf8').split('\n')
  const offsets = new Map<string, number | null>()
  for (const row of rows) {
    const [, start = '', end = '', offset = '', path = ''] =
      /^0*([0-9a-f]+)-0*([0-9a-f]+) rw-p ([0-9a-f]+) \S+ \d+\s+(\/.*\/(?:lib)?python3\.14\S*)$/.exec(row) ?? []
    if (path === '') continue
    if (!offsets.has(path)) {
      // The very file that is mapped, also in files of its own.
      const elf = elfAt(`/proc/${pid}/map_files/${start}-${end}`)
      offsets.set(path, elf?.sections.get('.PyRuntime')?.offset ?? null)
    }
    const section = offsets.get(path) ?? null
    if (section === null) continue
    const from = Number.parseInt(offset, 16)
    const address = Number.parseInt(start, 16)
    const length = Number.parseInt(end, 16) - address
    if (section >= from && section < from + length) return address + section - from
  }
  return null
}

function pointer(memory: number, address: number): number {
  return Number(read(memory, address, 8).readBigUInt64LE())
}

function read(memory: number, address: number, length: number): Buffer {
  const bytes = Buffer.alloc(length)
  if (readSync(memory, bytes, 0, length, address) !== length) throw new Error('memory that cannot be read')
  return bytes
}

function using<T>({ pid }: Pick<ProcessFacts, 'pid'>, mode: 'r' | 'r+', work: (memory: number) => T): T {
  const memory = openSync(`/proc/${pid}/mem`, mode)
  try {
    return work(memory)
  } finally {
    closeSync(memory)
  }
}
