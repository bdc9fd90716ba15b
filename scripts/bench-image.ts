/**
 * Measures images: how long a program takes to start and end in a root of its own, with one user and with several, beside the same
 * driver on the host's root, beside runc and crun behind our own interface, and beside runc, crun and podman by themselves on the
 * same layer; and how long an image takes to be unpacked. Prints a table in Markdown. Needs root, and what `npm run image-tools`
 * fetches.
 */
import { spawnSync } from 'node:child_process'
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { systemClock } from '../src/base/index.ts'
import { ImageStore, LayerStore } from '../src/image/index.ts'
import {
  bubblewrapDriver,
  detectLimitGroups,
  ociRuntimeDriver,
  type RootTree,
  type SandboxDriver,
  type SandboxSpec,
} from '../src/sandbox/index.ts'
import { Builders, run } from '../test/image-builders.ts'
import { needsBuilders, needsTool, redisRoot, toolCommand, toolEnv, toolPath } from '../test/image-tools.ts'

const rounds = 20
const unpackRounds = 3
const root = mkdtempSync(join(tmpdir(), 'stead-bench-image-'))
chmodSync(root, 0o711)
const alive = setInterval(() => undefined, 1000)

const images = new ImageStore({
  directory: join(root, 'store'),
  clock: systemClock,
  registry: { credentialFor: () => null },
})
const plain = {
  at: '/',
  without: [],
  base: null,
  entrypoint: ['/bin/true'],
  cmd: null,
  env: {},
  workdir: null,
}
const none = { user: '1000', ports: [], volumes: [], labels: {} }
const buildStartMs = systemClock.monotonicMs()
const image = await images.build(
  redisRoot,
  'bench',
  { ...plain, ...none },
  { directory: root, onProgress: () => undefined },
)
const buildMs = systemClock.monotonicMs() - buildStartMs
const packed = image.manifest.layers.reduce((sum, { size }) => sum + size, 0)

const unpackMs: number[] = []
let layers: readonly string[] = []
for (let round = 0; round < unpackRounds; round++) {
  const store = new LayerStore(join(root, `layers-${round}`))
  const startMs = systemClock.monotonicMs()
  layers = await images.unpack(image, store)
  unpackMs.push(systemClock.monotonicMs() - startMs)
}
const [layer = ''] = layers
const { bytes, entries } = JSON.parse(readFileSync(join(layer, '..', 'layer.json'), 'utf8'))

const groups = detectLimitGroups(systemClock, 'stead-bench')
const bubblewrap = bubblewrapDriver({ clock: systemClock, groups })
const runtimes = (['runc', 'crun'] as const)
  .filter((runtime) => needsTool(runtime) === false)
  .map((runtime) => ociRuntimeDriver({ runtime, command: toolCommand(runtime), clock: systemClock, groups }))
let count = 0

/** From asking for it to knowing that it has ended. */
async function once(tree: RootTree | undefined, driver: SandboxDriver = bubblewrap): Promise<number> {
  const id = `bench-${process.pid}-${count++}`
  const recordDir = join(root, id)
  const spec: SandboxSpec = {
    id,
    argv: ['/bin/true'],
    env: { PATH: '/usr/bin:/bin' },
    cwd: '/tmp',
    mounts: [],
    files: [],
    hostUid: 231_500,
    limits: { memoryBytes: 128 * 2 ** 20, cpuCores: 1, pidsMax: 64, tmpBytes: 2 ** 20 },
    syscalls: 'strict',
    network: null,
    recordDir,
    outputBytesMax: 2 ** 20,
    ...(tree === undefined ? {} : { root: tree }),
  }
  const startMs = systemClock.monotonicMs()
  const sandbox = await driver.start(spec)
  const exit = await sandbox.exited
  const tookMs = systemClock.monotonicMs() - startMs
  if (exit.code !== 0) throw new Error(`it ${exit.sentence}`)
  await driver.remove(recordDir)
  return tookMs
}

/** A container of the same layer, for the runtimes of others; its own limits and hardening, as `spec` writes them. */
function bundleFor(runtime: string): string {
  const directory = join(root, runtime)
  mkdirSync(directory)
  spawnSync(toolPath(runtime), ['spec'], { cwd: directory, env: toolEnv })
  const config = JSON.parse(readFileSync(join(directory, 'config.json'), 'utf8'))
  config.process.terminal = false
  config.process.args = ['/bin/true']
  config.process.rlimits = []
  config.root = { path: layer, readonly: true }
  for (const path of ['proc', 'sys', 'dev']) mkdirSync(join(layer, path), { recursive: true })
  writeFileSync(join(directory, 'config.json'), JSON.stringify(config))
  return directory
}

function runOther(runtime: string, bundle: string): number | null {
  const id = `bench-${process.pid}-${count++}`
  const run = `exec ${toolPath(runtime)} run --bundle ${bundle} ${id}`
  // crun refuses a host with both versions of control groups.
  const unified = existsSync('/sys/fs/cgroup/unified') ? 'umount /sys/fs/cgroup/unified; ' : ''
  const argv = runtime === 'crun' ? ['unshare', '-m', 'sh', '-c', `${unified}${run}`] : ['sh', '-c', run]
  const startMs = systemClock.monotonicMs()
  const { status, stderr } = spawnSync(argv[0] ?? '', argv.slice(1), { env: toolEnv, encoding: 'utf8' })
  if (status !== 0) console.error(`${runtime}: ${stderr.trim().slice(-300)}`)
  return status === 0 ? systemClock.monotonicMs() - startMs : null
}

/** The image in a storage of podman, and the command line of one run; null where there is none. */
async function podmanRun(): Promise<{ argv: readonly string[]; builders: Builders } | null> {
  if (needsBuilders() !== false) return null
  const builders = new Builders(join(root, 'builders'))
  // It becomes a name, and those are in lower case.
  const layout = join(tmpdir(), `stead-bench-layout-${process.pid}`)
  await images.layOut(image, layout)
  const [program = '', ...args] = builders.podman()
  const policy = ['--signature-policy', builders.policy]
  const id = run(program, [...args, 'pull', '--quiet', ...policy, `oci:${layout}`], builders.env).trim()
  rmSync(layout, { recursive: true })
  const limits =
    '--network none --ulimit nofile=1024:1024 --ulimit nproc=1024:1024 --memory 128m --pids-limit 64 --read-only'
  return { argv: [program, ...args, 'run', '--rm', ...limits.split(' '), id], builders }
}

function runPodman({ argv: [program = '', ...args], builders: { env } }: NonNullable<typeof podman>): number | null {
  const startMs = systemClock.monotonicMs()
  const { status, stderr } = spawnSync(program, args, { env, encoding: 'utf8' })
  if (status !== 0) console.error(`podman: ${stderr.trim().slice(-300)}`)
  return status === 0 ? systemClock.monotonicMs() - startMs : null
}

const tree: RootTree = { layers, writable: false }
const several: RootTree = { ...tree, hostIds: { first: 2 ** 31, count: 65_536 } }
const podman = await podmanRun()
const parts = Array.from({ length: 12 }, (_, index) => {
  const directory = join(root, `part-${index}`)
  mkdirSync(join(directory, `d${index}`), { recursive: true })
  return directory
})
const others = ['runc', 'crun']
  .filter((name) => existsSync(toolPath(name)))
  .map((name) => [name, bundleFor(name)] as const)
const times = new Map<string, number[]>()
const note = (name: string, ms: number | null): void => {
  if (ms !== null) times.set(name, [...(times.get(name) ?? []), ms])
}
for (let round = -1; round < rounds; round++) {
  const took: [string, number | null][] = [
    ['bubblewrap, root of the host', await once(undefined)],
    ['bubblewrap, root of an image (1 layer)', await once(tree)],
    ['bubblewrap, root of an image (13 layers)', await once({ ...tree, layers: [...layers, ...parts] })],
    ['bubblewrap, root of an image, several users', await once(several)],
  ]
  for (const runtime of runtimes) took.push([`the ${runtime.name} driver, the same root`, await once(tree, runtime)])
  took.push(
    ...others.map(([name, bundle]): [string, number | null] => [`${name} run, the same root`, runOther(name, bundle)]),
  )
  if (podman !== null) took.push(['podman run, the same image', runPodman(podman)])
  // The first warms up.
  if (round >= 0) for (const [name, ms] of took) note(name, ms)
}

const sorted = (values: readonly number[]): readonly number[] => values.toSorted((a, b) => a - b)
const at = (values: readonly number[], share: number): string =>
  (sorted(values)[Math.floor((values.length - 1) * share)] ?? 0).toFixed(1)
console.log('| `/bin/true`, from asking to its known end, ms | least | median | 90 % |\n| --- | --- | --- | --- |')
for (const [name, values] of times)
  console.log(`| ${name} | ${at(values, 0)} | ${at(values, 0.5)} | ${at(values, 0.9)} |`)
const mb = (value: number): string => (value / 1e6).toFixed(0)
console.log(
  `\nimage: ${mb(packed)} MB packed, ${mb(bytes)} MB in ${entries} entries; built in ${(buildMs / 1000).toFixed(1)} s`,
)
console.log(
  `unpacked in ${unpackMs.map((ms) => (ms / 1000).toFixed(2)).join(', ')} s: ${mb((bytes / Math.min(...unpackMs)) * 1000)} MB/s, so 100 MB in ${((Math.min(...unpackMs) / bytes) * 1e5).toFixed(2)} s`,
)
clearInterval(alive)
podman?.builders[Symbol.dispose]()
rmSync(root, { recursive: true, force: true })
