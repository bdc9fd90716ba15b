/**
 * Programs in each language for the conformance suite, and how tests start them: as a plain process of this host, and in
 * the sandbox driver with processes, files and network of its own.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync, openSync, closeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { systemClock, systemRandom, randomId } from '../src/base/index.ts'
import { chooseNetworkDriver } from '../src/network/index.ts'
import { bubblewrapDriver } from '../src/sandbox/index.ts'
import type { ProgramKind, Started } from '../src/debug/bench.conformance.ts'

/** Sources by kind; `probeLine` of the ticking one is 5. */
export interface Program {
  readonly extension: string
  readonly sources: Readonly<Record<ProgramKind, string>>
  readonly argv: (file: string) => readonly string[]
  /** What the sandbox must hold beside the system's directories. */
  readonly mounts: readonly string[]
  readonly env?: Readonly<Record<string, string>>
}

export const probeLine = 5

export function nodeProgram(node: string): Program {
  return {
    extension: 'cjs',
    sources: {
      ticking: `let total = 0
function tick() {
  const count = ++total
  const password = 'x'.repeat(count % 7)
  console.log(count, password.length)
}
setInterval(tick, 20)
`,
      hanging: `function spin() {
  let count = 0
  console.log('hangs')
  for (;;) count++
}
setTimeout(spin, 10)
`,
    },
    // On this machine's network the usual port may be somebody else's.
    argv: (file) => [node, '--inspect-port=0', file],
    mounts: node.startsWith('/usr/') ? [] : [dirname(dirname(node))],
  }
}

export function pythonProgram(python: string): Program {
  return {
    extension: 'py',
    sources: {
      ticking: `import time
def tick(count):
    password = 'x' * (count % 7)
    time.sleep(0.02)
    print(count, len(password), flush=True)
count = 0
while True:
    count += 1
    tick(count)
`,
      hanging: `def spin():
    print('hangs', flush=True)
    count = 0
    while True:
        count += 1
spin()
`,
    },
    argv: (file) => [python, file],
    mounts: [],
  }
}

/** Starts programs as processes of this host, like those that Stead knows nothing of. */
export function startPlain(program: Program): (kind: ProgramKind) => Promise<Started> {
  return async (kind) => {
    const { dir, file } = written(program, kind)
    const output = openSync(`${dir}/output`, 'w')
    const [command = '', ...args] = program.argv(file)
    const env = { PATH: '/usr/bin:/bin', ...program.env }
    const child = spawn(command, args, { stdio: ['ignore', output, 'ignore'], env, cwd: dir })
    closeSync(output)
    const gone = once(child, 'exit')
    await once(child, 'spawn')
    let ended = false
    return {
      pid: child.pid ?? 0,
      lines: async () => linesOf(readFileSync(`${dir}/output`, 'utf8')),
      async end() {
        if (ended) return
        ended = true
        child.kill('SIGKILL')
        await gone
        rmSync(dir, { recursive: true, force: true })
      },
    }
  }
}

/** Starts programs in the bubblewrap driver, in a network of their own. Needs root. */
export function startSandboxed(program: Program): (kind: ProgramKind) => Promise<Started> {
  return async (kind) => {
    const { dir, file } = written(program, kind)
    const driver = bubblewrapDriver({ clock: systemClock, groups: null })
    const network = chooseNetworkDriver({ poolSize: 0 })
    const place = await network.place('debugged')
    const recordDir = `${dir}/records`
    const sandbox = await driver.start({
      id: `debug-${randomId(systemRandom)}`,
      argv: program.argv(file),
      env: { PATH: '/usr/bin:/bin', ...program.env },
      cwd: '/tmp',
      mounts: [dir, ...program.mounts].map((path) => ({ source: path, target: path, access: 'read-only' as const })),
      files: [],
      hostUid: 231_080,
      limits: { memoryBytes: null, cpuCores: null, pidsMax: null, tmpBytes: null },
      syscalls: 'strict',
      network: place,
      recordDir,
      outputBytesMax: 2 ** 20,
    })
    let ended = false
    return {
      pid: sandbox.pid,
      async lines() {
        const lines: string[] = []
        for await (const { text } of driver.output(recordDir)) lines.push(text)
        return lines
      },
      async end() {
        if (ended) return
        ended = true
        await sandbox.kill()
        await driver.remove(recordDir)
        place[Symbol.dispose]()
        await network[Symbol.asyncDispose]()
        rmSync(dir, { recursive: true, force: true })
      },
    }
  }
}

function written(program: Program, kind: ProgramKind): { readonly dir: string; readonly file: string } {
  const dir = mkdtempSync(join(tmpdir(), 'stead-debug-'))
  chmodSync(dir, 0o755)
  mkdirSync(`${dir}/app`)
  const file = `${dir}/app/${kind}.${program.extension}`
  writeFileSync(file, program.sources[kind])
  return { dir, file }
}

function linesOf(text: string): readonly string[] {
  return text.split('\n').filter((line) => line !== '')
}
