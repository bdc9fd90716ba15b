/**
 * What guests cost, for docs/measured/machines.md: the way to their first program beside QEMU alone with the same kernel and the
 * same first root, the way to a program and to Node, and what an idle instance holds. Prints a table. Run it on a quiet machine,
 * as root.
 */
import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { systemClock } from '../src/base/index.ts'
import {
  bubblewrapDriver,
  detectLimitGroups,
  type Sandbox,
  type SandboxDriver,
  umlDriver,
  vmDriver,
} from '../src/sandbox/index.ts'
import { machineParts } from '../test/machine-parts.ts'

const rounds = Number(process.argv[2] ?? 5)
const state = '/var/tmp/stead-test-guests'
const groups = detectLimitGroups(systemClock, 'stead-bench')
const parts = machineParts.root === null ? {} : { partsRoot: machineParts.root }
const options = { clock: systemClock, groups, stateDir: state, ...parts }
const alive = setInterval(() => undefined, 1000)
const directory = mkdtempSync(join(tmpdir(), 'stead-machines-'))
let count = 0

const drivers: Readonly<Record<string, SandboxDriver>> = {
  bubblewrap: bubblewrapDriver({ clock: systemClock, groups }),
  uml: umlDriver(options),
  vm: vmDriver(options),
}

interface Begun {
  readonly sandbox: Sandbox
  readonly recordDir: string
  /** From the call to the first line of the program. */
  readonly firstLineMs: number
}

async function begin(driver: SandboxDriver, argv: readonly string[], memoryBytes = 128 * 2 ** 20): Promise<Begun> {
  const recordDir = join(directory, String(count++))
  const startMs = performance.timeOrigin + performance.now()
  const sandbox = await driver.start({
    id: `bench-${process.pid}-${count}`,
    argv,
    env: { PATH: '/usr/bin:/bin' },
    cwd: '/tmp',
    mounts: [{ source: process.execPath, target: '/opt/node', access: 'read-only' }],
    files: [],
    hostUid: 231_080,
    limits: { memoryBytes, cpuCores: null, pidsMax: 64, tmpBytes: 2 ** 20 },
    syscalls: driver.capabilities.syscallFilter === 'refused' ? 'none' : 'strict',
    network: null,
    recordDir,
    outputBytesMax: 2 ** 20,
  })
  const first = await driver.output(recordDir, { follow: true })[Symbol.asyncIterator]().next()
  const atMs = first.done === true ? Number.NaN : first.value.timeMs
  return { sandbox, recordDir, firstLineMs: atMs - startMs }
}

async function end(driver: SandboxDriver, { sandbox, recordDir }: Begun): Promise<void> {
  await sandbox.kill()
  await driver.remove(recordDir)
}

/** The command line of a machine that runs, as QEMU was given it. */
async function commandOf({ sandbox }: Begun): Promise<readonly string[]> {
  const { readFileSync } = await import('node:fs')
  for (const pid of sandbox.members()) {
    const argv = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0').filter(Boolean)
    if (argv[0]?.endsWith('qemu-system-x86_64') === true) return argv
  }
  throw new Error('no QEMU among the members')
}

/** QEMU alone, as short as it can be said: the time until its first program has begun and is over. */
async function bare(files: { readonly kernel: string; readonly initramfs: string }, memory: string): Promise<number> {
  const root = machineParts.root ?? ''
  const env = { LD_LIBRARY_PATH: `${root}/usr/lib/x86_64-linux-gnu:${root}/lib/x86_64-linux-gnu` }
  const firmware = ['-L', `${root}/usr/share/qemu`, '-L', `${root}/usr/share/seabios`]
  const hardware = `-M microvm,acpi=on,rtc=on -accel tcg,thread=multi -cpu max -smp 2 -m ${memory} -nodefaults -no-user-config -no-reboot`
  const append =
    'console=ttyS0 quiet panic=-1 reboot=t pci=off nokaslr tsc_early_khz=2000000 lpj=4000000 tsc=reliable no_timer_check rdinit=/bin/perl -- -e exit'
  const argv = [
    ...firmware,
    ...hardware.split(' '),
    '-display',
    'none',
    '-kernel',
    files.kernel,
    '-initrd',
    files.initramfs,
  ]
  const startMs = performance.now()
  const machine = spawn(`${root}/usr/bin/qemu-system-x86_64`, [...argv, '-append', append], { stdio: 'ignore', env })
  await new Promise((resolve) => machine.once('close', resolve))
  return performance.now() - startMs
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN
}

function row(...cells: readonly (string | number)[]): void {
  process.stdout.write(`| ${cells.map((cell) => (typeof cell === 'number' ? Math.round(cell) : cell)).join(' | ')} |\n`)
}

try {
  const shell = ['sh', '-c', 'echo up; exec sleep 600']
  row('', 'first line of a shell, ms', 'first line of Node, ms', 'idle memory, MiB', 'idle CPU, % of a core')
  row('---', '---', '---', '---', '---')
  for (const [name, driver] of Object.entries(drivers)) {
    const starts: number[] = []
    const nodes: number[] = []
    for (let round = 0; round < rounds; round++) {
      const begun = await begin(driver, shell)
      starts.push(begun.firstLineMs)
      await end(driver, begun)
    }
    for (let round = 0; round < Math.min(rounds, 3); round++) {
      const begun = await begin(driver, ['/opt/node', '-e', 'console.log("up"); setTimeout(() => {}, 6e5)'])
      nodes.push(begun.firstLineMs)
      await end(driver, begun)
    }
    const idle = await begin(driver, shell)
    await new Promise((resolve) => setTimeout(resolve, 2000))
    const before = (await idle.sandbox.usage()).cpuSeconds ?? 0
    await new Promise((resolve) => setTimeout(resolve, 5000))
    const usage = await idle.sandbox.usage()
    const percent = (((usage.cpuSeconds ?? 0) - before) / 5) * 100
    row(name, median(starts), median(nodes), (usage.memoryBytes ?? 0) / 2 ** 20, percent.toFixed(1))
    await end(driver, idle)
  }
  const guest = drivers['vm']
  if (guest !== undefined) {
    const begun = await begin(guest, shell)
    const argv = await commandOf(begun)
    const booted = Number((await bootedOf(begun.sandbox)).toFixed(2))
    await end(guest, begun)
    const { readdirSync } = await import('node:fs')
    const kept = (kind: string): string =>
      `${state}/${readdirSync(state).findLast((name) => name.startsWith(kind)) ?? ''}`
    const files = { kernel: kept('kernel'), initramfs: kept('initramfs') }
    const alone: number[] = []
    for (let round = 0; round < rounds; round++) alone.push(await bare(files, argv[argv.indexOf('-m') + 1] ?? '256M'))
    process.stdout.write(
      `\nQEMU alone, same kernel and first root, until Perl has begun and ended: ${Math.round(median(alone))} ms\n`,
    )
    process.stdout.write(`vm: the kernel had run for ${booted} s when its first program began\n`)
  }
} finally {
  rmSync(directory, { recursive: true, force: true })
  clearInterval(alive)
}

/** Seconds that the guest's kernel had run when its first program began. */
async function bootedOf(sandbox: Sandbox): Promise<number> {
  const { text } = await import('node:stream/consumers')
  const script = 'cat /proc/uptime; cat /proc/self/stat'
  const executed = await sandbox.exec({ argv: ['sh', '-c', script], env: {}, terminal: null })
  executed.input.end()
  return Number((await text(executed.output)).split(' ')[0])
}
