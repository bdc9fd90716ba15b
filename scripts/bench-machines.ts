/**
 * What guests cost, for docs/measured/machines.md: the way to their first program beside QEMU alone with the same kernel and the
 * same first root and kinds of machine, the way to a program and to Node, and what an idle instance holds; containers of a server
 * too, where there is one for tests. Prints tables. Run it on a quiet machine, as root: ROUNDS, and the drivers with commas.
 */
import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { availableParallelism, tmpdir } from 'node:os'
import { join } from 'node:path'
import { systemClock } from '../src/base/index.ts'
import {
  bubblewrapDriver,
  detectLimitGroups,
  incusDriver,
  type Sandbox,
  type SandboxDriver,
  umlDriver,
  vmDriver,
} from '../src/sandbox/index.ts'
import { Channel } from '../src/sandbox/drivers/guests/channel.ts'
import { reach } from '../src/sandbox/drivers/guests/controls.ts'
import { counterRate } from '../src/sandbox/drivers/guests/counter.ts'
import { type GuestFiles, guestFiles, packArchive } from '../src/sandbox/drivers/guests/initramfs.ts'
import { findGuestParts } from '../src/sandbox/drivers/guests/kernel.ts'
import { IncusTestServer, needsIncus } from '../test/incus-server.ts'
import { machineParts } from '../test/machine-parts.ts'

const rounds = Number(process.argv[2] ?? 5)
const state = '/var/tmp/stead-test-guests'
const groups = detectLimitGroups(systemClock, 'stead-bench')
const parts = machineParts.root === null ? {} : { partsRoot: machineParts.root }
const options = { clock: systemClock, groups, stateDir: state, ...parts }
const alive = setInterval(() => undefined, 1000)
const directory = mkdtempSync(join(tmpdir(), 'stead-machines-'))
chmodSync(directory, 0o711)
const hostUid = 231_080
let count = 0

const server = needsIncus() === false ? await IncusTestServer.start() : null
const drivers: Readonly<Record<string, SandboxDriver>> = {
  bubblewrap: bubblewrapDriver({ clock: systemClock, groups }),
  ...(server !== null && {
    incus: await incusDriver({ clock: systemClock, groups, address: { socketPath: server.socketPath } }),
  }),
  uml: umlDriver(options),
  vm: vmDriver(options),
}
const chosen = process.argv[3]?.split(',') ?? Object.keys(drivers)

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
    hostUid,
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

/** The kind of machine that guests are given. */
const ours = 'microvm,acpi=on,rtc=on,pic=on,pit=on'

/** QEMU alone, as short as it can be said: the time until its first program says something. */
async function bare(files: GuestFiles, kind = ours): Promise<number> {
  const root = machineParts.root ?? ''
  const env = { LD_LIBRARY_PATH: `${root}/usr/lib/x86_64-linux-gnu:${root}/lib/x86_64-linux-gnu` }
  const firmware = ['-L', `${root}/usr/share/qemu`, '-L', `${root}/usr/share/seabios`]
  const hardware = `-M ${kind} -accel tcg,thread=multi,tb-size=128 -cpu max -smp ${Math.min(8, availableParallelism())} -m 224M`
  const rest = '-nodefaults -no-user-config -no-reboot -display none -serial stdio'
  const append = `console=ttyS0 quiet panic=-1 reboot=t ${kind === ours ? 'pci=off ' : ''}nokaslr tsc_early_khz=${counterRate(readFileSync('/proc/cpuinfo', 'latin1')).kilohertz} tsc=reliable no_timer_check rdinit=/began`
  const argv = [...firmware, ...`${hardware} ${rest}`.split(' '), '-kernel', files.kernel, '-initrd', files.initramfs]
  const startMs = performance.now()
  const machine = spawn(`${root}/usr/bin/qemu-system-x86_64`, [...argv, '-append', append], {
    stdio: ['ignore', 'pipe', 'ignore'],
    env,
  })
  let said = ''
  let beganMs = Number.NaN
  machine.stdout.on('data', (chunk: Buffer) => {
    said += chunk.toString('latin1')
    if (Number.isNaN(beganMs) && said.includes('began')) beganMs = performance.now() - startMs
  })
  await once(machine, 'close')
  return beganMs
}

/** The files of a guest, whose first program says that it began, and ends. */
async function filesOfBare(): Promise<GuestFiles> {
  const { kernel, initramfs } = await guestFiles(findGuestParts(machineParts.root), state)
  const content = Buffer.from('#!/bin/perl\nsyswrite(STDOUT, "began\\n");\n')
  const own = join(directory, 'initramfs')
  // Kernels unpack one archive after another.
  writeFileSync(
    own,
    Buffer.concat([readFileSync(initramfs), packArchive([{ path: 'began', mode: 0o100755, content }])]),
  )
  return { kernel, initramfs: own }
}

/** From the call to the guest's first program: the way to the program, without what lies between the two inside. */
async function toFirstProgram(driver: SandboxDriver): Promise<number> {
  const begun = await begin(driver, ['sh', '-c', 'cat /proc/uptime; exec sleep 600'])
  const [line] = await Array.fromAsync(driver.output(begun.recordDir))
  const uptime = Number(line?.text.split(' ')[0])
  const name = createHash('sha256').update(begun.recordDir).digest('hex').slice(0, 16)
  const channel = new Channel(
    () => reach(`/run/stead-guests/${name}`, 'control', hostUid),
    systemClock,
    () => false,
  )
  const began = Number((await channel.ask('U'))?.split(' ')[3])
  channel.close()
  await end(driver, begun)
  return begun.firstLineMs - (uptime - began) * 1000
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
    if (!chosen.includes(name)) continue
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
  if (guest !== undefined && chosen.includes('vm')) {
    const files = await filesOfBare()
    const [whole, alone]: [number[], number[]] = [[], []]
    const others = new Map(['q35', 'pc'].map((kind) => [kind, [] as number[]]))
    for (let round = 0; round < rounds; round++) {
      whole.push(await toFirstProgram(guest))
      alone.push(await bare(files))
      for (const [kind, times] of others) times.push(await bare(files, kind))
    }
    const [a, b] = [median(whole), median(alone)]
    process.stdout.write(
      `\nto the first program: vm ${Math.round(a)} ms, QEMU alone ${Math.round(b)} ms, ${(a / b).toFixed(2)} times\n`,
    )
    for (const [kind, times] of others) process.stdout.write(`QEMU alone as ${kind}: ${Math.round(median(times))} ms\n`)
  }
} finally {
  await server?.stop()
  rmSync(directory, { recursive: true, force: true })
  clearInterval(alive)
}
