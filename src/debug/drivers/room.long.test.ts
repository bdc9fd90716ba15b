/**
 * Rooms that follow one another in one process, where the file system gives a directory the number of one that is gone: what
 * cleans up after a debugger takes away its own room, and nobody else's.
 */
import assert from 'node:assert/strict'
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmdirSync,
  rmSync,
  statSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, suite, test } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import { systemClock } from '../../base/index.ts'
import { type Program, preparedPython, rubyProgram, startPlain } from '../../../test/debug-programs.ts'
import { useDebugTools } from '../../../test/debug-tools.ts'
import { needsAll, needsFile, needsRoot } from '../../../test/needs.ts'
import { until } from '../bench.conformance.ts'
import { doorSignal, handlesDoor, roomOf } from '../door.ts'
import { pythonBoot } from '../python/hook.ts'
import { rubyBoot } from '../ruby/boot.ts'
import { readProcess, signalProcess } from './proc.ts'
import { openRoom, type Room, type RoomContents } from './room.ts'
import { findDebugpy } from './tools.ts'

useDebugTools()

/** How many directories are made before a number is given up. */
const triesMax = 500

/** Makes a directory with that number, where the file system gives it out again; other directories meanwhile go into `aside`. */
function makeNumbered(path: string, number: number, aside: string): void {
  for (let tries = 0; ; tries++) {
    mkdirSync(path, { mode: 0o700 })
    if (statSync(path).ino === number || tries === triesMax) return
    renameSync(path, join(aside, String(tries)))
  }
}

/** False where the numbers of directories are used again, or the reason to skip with. */
function needsNumbersAgain(): string | false {
  const aside = mkdtempSync(join(tmpdir(), 'stead-numbers-'))
  const path = `${aside}-one`
  try {
    mkdirSync(path)
    const { ino } = statSync(path)
    rmdirSync(path)
    makeNumbered(path, ino, aside)
    return statSync(path).ino === ino
      ? false
      : `needs a file system in ${tmpdir()} that uses numbers again, as ext4 does`
  } finally {
    for (const made of [path, aside]) rmSync(made, { recursive: true })
  }
}

/** In these programs to close a socket takes so long, once all of them are closed: the time in which the next room is made. */
const closingMs = 1000
const slow: Readonly<Record<string, string>> = {
  rb: `require 'socket'; class UNIXSocket; def close; super; sleep ${closingMs / 1000}; end; end; `,
  py: `import os, stat
class slow:
    close = os.close
    def of(fd):
        socket = stat.S_ISSOCK(os.fstat(fd).st_mode)
        slow.close(fd)
        if not socket: return
        while any('socket:' in os.path.realpath('/proc/self/fd/' + one) for one in os.listdir('/proc/self/fd')):
            time.sleep(0.01)
        time.sleep(${closingMs / 1000})
os.close = slow.of
`,
}

function hasSockets(pid: number): boolean {
  try {
    return readdirSync(`/proc/${pid}/fd`).some((fd) => readlinkSync(`/proc/${pid}/fd/${fd}`).startsWith('socket:'))
  } catch {
    // One was just closed.
    return true
  }
}

const debugpy = await findDebugpy()
/** Without its compiled parts, as a Python has it that there are none for: what is loaded from a room keeps its number too. */
const plainDebugpy = mkdtempSync(join(tmpdir(), 'stead-debugpy-'))
after(() => rmSync(plainDebugpy, { recursive: true }))
if (debugpy !== null) {
  const filter = (path: string): boolean => !path.endsWith('.so')
  cpSync(join(debugpy, 'debugpy'), join(plainDebugpy, 'debugpy'), { recursive: true, filter })
}

const languages: readonly (readonly [
  name: string,
  program: Program,
  contents: RoomContents,
  missing: string | false,
])[] = [
  [
    'Ruby',
    rubyProgram('/usr/bin/ruby', true),
    { files: { 'boot.rb': rubyBoot }, tools: null },
    needsFile('/usr/bin/ruby', 'scripts/setup.mjs --debuggers'),
  ],
  [
    'Python',
    preparedPython('/usr/bin/python3'),
    { files: { 'boot.py': pythonBoot }, tools: { parent: plainDebugpy, name: 'debugpy' } },
    needsAll(needsFile('/usr/bin/python3', 'apt-get install python3'), debugpy === null && 'needs debugpy'),
  ],
]

interface Inside {
  readonly pid: number
  readonly path: string
  readonly room: Room
}

async function withRoom(program: Program, contents: RoomContents, work: (inside: Inside) => Promise<void>) {
  const source = `${slow[program.extension] ?? ''}${program.sources.ticking}`
  const started = await startPlain({ ...program, sources: { ticking: source, hanging: source } })('ticking')
  const { pid } = started
  const path = roomOf(pid)
  try {
    await until(async () => handlesDoor(readProcess(pid)) && (await started.lines()).length > 0, 'the hook')
    const facts = readProcess(pid)
    const room = await openRoom(facts, contents, () => signalProcess(facts, doorSignal), systemClock)
    await work({ pid, path, room })
  } finally {
    await started.end()
    rmSync(path, { recursive: true, force: true })
  }
}

/** The process does nothing until it is to go on. */
async function standing(pid: number): Promise<void> {
  process.kill(pid, 'SIGSTOP')
  await until(() => / \(.*\) T /s.test(readFileSync(`/proc/${pid}/stat`, 'utf8')), 'the process to stand')
}

for (const [name, program, contents, missing] of languages) {
  suite(`rooms in ${name}`, { skip: needsAll(needsRoot(), missing) }, () => {
    test('one that has left does not take the next one away', { skip: needsNumbersAgain() }, async () => {
      await withRoom(program, contents, async ({ pid, path, room }) => {
        const aside = mkdtempSync(join(tmpdir(), 'stead-numbers-'))
        const { ino } = statSync(path)
        room.streams.from.destroy()
        // A socket keeps the number of the directory that it was made in.
        await until(() => !hasSockets(pid), 'the process to close the connection')
        rmSync(path, { recursive: true })
        makeNumbered(path, ino, aside)
        await pause(2 * closingMs)
        rmSync(aside, { recursive: true })
        assert.ok(existsSync(path), 'the room of the next is gone')
      })
    })

    test('who leaves waits for what the process takes back', async () => {
      await withRoom(program, contents, async ({ pid, path, room }) => {
        await standing(pid)
        let left = false
        const leaving = room.end().then(() => (left = true))
        await pause(500)
        assert.deepEqual([left, existsSync(path)], [false, true])
        process.kill(pid, 'SIGCONT')
        await leaving
        assert.equal(existsSync(path), false)
      })
    })
  })
}
