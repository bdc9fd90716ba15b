/**
 * A core file: what a program of machine code held in memory when it ended, looked at by LLDB as a program that stands.
 *
 * Invariant: nothing runs: what would need that (a snapshot, a profile, a step) is refused, by us or by LLDB.
 */
import { closeSync, openSync, readSync, statSync } from 'node:fs'
import { resolve } from 'node:path'
import type { Clock, Random } from '../../base/index.ts'
import { adapterAttachment } from '../adapter/attachment.ts'
import { machineName, machineOf } from '../native/elf.ts'
import type { Attachment, ProcessFacts } from '../recipe.ts'
import { refused } from '../refusals.ts'
import { findLldb, openLldb } from './native.ts'
import { elfAt } from './program-file.ts'

export interface CoreFileOptions {
  readonly clock: Clock
  readonly random: Random
  readonly core: string
  /** The program that left it, of the same build. */
  readonly program: string
}

/** What ELF says of a file that is a core. */
const coreType = 4
const ended = 'a core file is what a program was at its end, and does not run'

/** Throws `debug.refused` for what is no core of this kind of machine, or no program, and where LLDB is not there. */
export function openCoreFile({ clock, random, core, program }: CoreFileOptions): Attachment {
  const [corePath, programPath] = [resolve(core), resolve(program)]
  if (typeOf(corePath) !== coreType) throw refused(`${core} is no core file`, 'Fetch one with `stead core PART`.')
  const elf = elfAt(programPath)
  if (elf === null)
    throw refused(
      `${program} is no program of machine code`,
      'Name the file that ran, of the same build; for an interpreter that is the interpreter itself.',
    )
  const here = machineOf(process.arch)
  if (here !== null && elf.machine !== here)
    throw refused(`${program} was made for ${machineName(elf.machine)}`, 'Open it on a machine of that kind.')
  const lldb = findLldb()
  if (lldb === null)
    throw refused(
      'this machine has no lldb-dap, which opens core files',
      'Install it (`apt-get install lldb-19`), or use `gdb PROGRAM CORE`.',
    )
  const facts = nobody(programPath)
  const attached = adapterAttachment({
    facts,
    clock,
    hide: (text) => text,
    language: 'native',
    version: '0.0',
    effects: [],
    open: async () => ({
      ...openLldb(facts, lldb, { clock, random }, { coreFile: corePath, program: programPath }),
      pausesLast: false,
    }),
    isAlive: () => true,
    running: () => () => false,
    noProfile: { reason: ended, hint: 'Take a profile of one that runs.' },
  })
  return {
    ...attached,
    stack: async () => ({ ...(await attached.stack()), stoppedMs: 0 }),
    snapshot: () => Promise.reject(refused(ended, 'Its values are there to be read: `stead debug --core`.')),
  }
}

function typeOf(path: string): number | null {
  try {
    if (!statSync(path).isFile()) return null
    const fd = openSync(path, 'r')
    try {
      const head = Buffer.alloc(18)
      const isElf = readSync(fd, head, 0, 18, 0) === 18 && head.readUInt32BE(0) === 0x7f454c46
      return isElf ? head.readUInt16LE(16) : null
    } finally {
      closeSync(fd)
    }
  } catch {
    return null
  }
}

/** In the place of the process that is gone: LLDB has the rights of whoever asks. */
function nobody(executable: string): ProcessFacts {
  const [uid, gid] = [process.getuid?.() ?? 0, process.getgid?.() ?? 0]
  const shares = { network: true, files: true, pids: true }
  const facts = { pid: 0, start: '', executable, argv: [], innerPid: 0, state: 'Z', caughtSignals: 0n, tracerPid: 0 }
  return { ...facts, uid, gid, shares }
}
