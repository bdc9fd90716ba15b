#!/usr/bin/env node
/**
 * Makes a fresh clone able to run: node modules (with the pinned Node) and, on Debian as root, the system packages that
 * the stronger drivers need. Says what it will do before it does it, and does nothing when all is there. With `--start` it
 * brings only what a start needs; tests, checks and clients of other people's brokers come when they are wanted. Plain
 * JavaScript, because it runs on whatever Node the machine has, before ours is installed.
 */
import { spawn, spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = join(dirname(fileURLToPath(import.meta.url)), '..')
const forStart = process.argv.includes('--start')

/** The library of Node that a smallest Debian lacks: where Debian has it, and where the others have. */
const nodeLibrary =
  [
    `/usr/lib/${process.arch === 'arm64' ? 'aarch64' : 'x86_64'}-linux-gnu/libatomic.so.1`,
    '/usr/lib64/libatomic.so.1',
    '/usr/lib/libatomic.so.1',
  ].find((path) => existsSync(path)) ?? '/usr/lib/x86_64-linux-gnu/libatomic.so.1'

/** Debian packages: what they give us, and the file that shows they are there. */
const systemPackages = [
  { name: 'libatomic1', file: nodeLibrary, why: 'Node does not start without it' },
  { name: 'bubblewrap', file: '/usr/bin/bwrap', why: 'sandboxes' },
  {
    name: 's6',
    file: '/usr/bin/s6-log',
    why: 'keeps the output of instances, timed and bounded, in half a megabyte each',
  },
  { name: 'btrfs-progs', file: '/usr/sbin/mkfs.btrfs', why: "instant, atomic checkpoints of an app's data" },
  { name: 'restic', file: '/usr/bin/restic', why: 'encrypted, incremental backups in another place' },
  { name: 'python3', file: '/usr/bin/python3', why: "the example's worker" },
  { name: 'python3-pip', file: '/usr/lib/python3/dist-packages/pip/__init__.py', why: 'dependencies of Python parts' },
]

/** With `--servers`: programs that Stead can manage in place of parts of its own, for servers under load and for tests. */
const serverPackages = [
  { name: 'haproxy', file: '/usr/sbin/haproxy', why: 'the second engine of the way in' },
  { name: 'beanstalkd', file: '/usr/bin/beanstalkd', why: 'a broker that queues can be on' },
  { name: 'nats-server', file: '/usr/sbin/nats-server', why: 'an old one of another, to prove what is refused there' },
  { name: 'debootstrap', file: '/usr/sbin/debootstrap', why: 'fetches a newer RabbitMQ than this Debian has' },
  { name: 'redis-server', file: '/usr/bin/redis-server', why: 'the elder sister of another' },
  { name: 'rabbitmq-server', file: '/usr/lib/rabbitmq/bin/rabbitmq-server', why: 'another one' },
]

/** With `--tests`, beside all others: what tests hold against us. A test whose program is missing is skipped and says so. */
const testPackages = [
  { name: 'openssh-server', file: '/usr/sbin/sshd', why: 'servers that are deployed to' },
  { name: 'openssh-client', file: '/usr/bin/ssh', why: 'the way to them' },
  { name: 'chromium', file: '/usr/bin/chromium', why: 'the dashboard is opened in it' },
  { name: 'curl', file: '/usr/bin/curl', why: 'the lines of the documentation' },
  { name: 'strace', file: '/usr/bin/strace', why: 'counts what reaches the disk' },
  { name: 'gdb', file: '/usr/bin/gdb', why: 'debugs what is native, and kernels' },
  { name: 'openjdk-17-jdk-headless', file: '/usr/lib/jvm/java-17-openjdk-amd64/bin/javac', why: 'another one' },
  { name: 'xfsprogs', file: '/usr/sbin/mkfs.xfs', why: 'a file system that data can be on' },
  { name: 'postgresql-client', file: '/usr/bin/psql', why: 'a client that nobody here wrote' },
  { name: 'iproute2', file: '/sbin/ip', why: 'networks of the tests' },
  { name: 'qemu-system-x86', file: '/usr/bin/qemu-system-x86_64', why: 'kernels of their own' },
]

/** With `--debuggers`: what looks into programs of other languages, and what tests of that need. */
const debuggerPackages = [
  { name: 'lldb-19', file: '/usr/bin/lldb-dap-19', why: 'looks into C, C++ and Rust' },
  { name: 'ruby', file: '/usr/bin/ruby', why: 'programs in Ruby to look into' },
  { name: 'debootstrap', file: '/usr/sbin/debootstrap', why: 'fetches a newer Python than this Debian has' },
]

function fail(message, hint) {
  process.stderr.write(`setup: ${message}\n  ${hint}\n`)
  process.exit(1)
}

/** Runs a program to its end, and says how long it took; answers whether it went well. What it printed is shown when not. */
function run(what, command, args, options = {}) {
  const startMs = Date.now()
  process.stderr.write(`setup: ${what} ...\n`)
  const result = spawnSync(command, args, {
    cwd: root,
    stdio: ['ignore', 'pipe', 'pipe'],
    encoding: 'utf8',
    ...options,
  })
  const ok = result.status === 0
  said(what, ok, startMs)
  if (!ok)
    process.stderr.write(
      `${result.stderr ?? ''}${result.error?.message ?? ''}`.trimEnd().split('\n').slice(-10).join('\n') + '\n',
    )
  return ok
}

function said(what, ok, startMs) {
  process.stderr.write(`setup: ${what} ${ok ? 'done' : 'FAILED'} in ${((Date.now() - startMs) / 1000).toFixed(1)} s\n`)
}

/** Runs a program beside others, without a word; answers whether it went well. */
function beside(command, args, cwd) {
  return new Promise((resolve) => {
    const child = spawn(command, args, { cwd, stdio: 'ignore' })
    child.on('error', () => resolve(false))
    child.on('exit', (code) => resolve(code === 0))
  })
}

const modules = join(root, 'node_modules')
const stampPath = join(modules, '.stead-setup')

async function nodeModules() {
  const lock = readFileSync(join(root, 'package-lock.json'))
  const digest = createHash('sha256').update(lock).digest('hex')
  const stamp = existsSync(stampPath) ? readFileSync(stampPath, 'utf8') : ''
  if (stamp === digest || (forStart && stamp === `${digest} start`)) return
  if (forStart && !existsSync(modules) && (await startModules(JSON.parse(lock)))) {
    writeFileSync(stampPath, `${digest} start`)
    return
  }
  // Not `npm ci`: it refuses a lock file that lacks the optional packages of other platforms. Versions and integrity come
  // from the lock file all the same, and `--no-save` keeps it as it is.
  const install = ['install', '--no-save', '--ignore-scripts', '--loglevel=error']
  if (!run('node modules, with Node 26 (about 300 MB, once)', 'npm', install)) {
    fail(
      'npm install failed',
      'See the lines above; the npm registry must be reachable. Then run the same command again.',
    )
  }
  writeFileSync(stampPath, digest)
}

/** What the pages of the dashboard are built from. */
const pageModules = ['vite', 'preact', 'uplot', '@fontsource-variable/inter', '@fontsource-variable/jetbrains-mono']

/**
 * What a start needs, in half the time of everything: the libraries, by npm and the lock file, with a manifest that names no
 * more; and beside that the two packages that are programs, unpacked by tar. Answers whether it went well; when not,
 * nothing is left, and npm does it all in its own way.
 */
async function startModules(lock) {
  const startMs = Date.now()
  const what = 'what a start needs, with Node 26 (about 250 MB, once)'
  process.stderr.write(`setup: ${what} ...\n`)
  const stage = join(root, 'node_modules.new')
  rmSync(stage, { recursive: true, force: true })
  mkdirSync(stage)
  try {
    const { dependencies, devDependencies } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
    for (const name of pageModules) dependencies[name] = devDependencies[name]
    writeFileSync(join(stage, 'package.json'), JSON.stringify({ name: 'start', private: true, dependencies }))
    copyFileSync(join(root, 'package-lock.json'), join(stage, 'package-lock.json'))
    const install = ['install', '--no-save', '--ignore-scripts', '--no-audit', '--no-fund', '--prefer-offline']
    const [libraries, programs] = await Promise.all([beside('npm', install, stage), unpackPrograms(lock, stage)])
    if (!libraries || !programs) return false
    // What npm remembers of this place is not true of the next.
    rmSync(join(stage, 'node_modules', '.package-lock.json'), { force: true })
    for (const [name, source] of programs) {
      const target = join(stage, 'node_modules', name)
      mkdirSync(dirname(target), { recursive: true })
      renameSync(source, target)
      if (existsSync(join(target, 'bin', 'node')))
        symlinkSync(join('..', name, 'bin', 'node'), join(stage, 'node_modules', '.bin', 'node'))
    }
    renameSync(join(stage, 'node_modules'), modules)
    said(what, true, startMs)
    return true
  } catch {
    return false
  } finally {
    rmSync(stage, { recursive: true, force: true })
  }
}

/**
 * Fetches the optional packages of this platform and unpacks them, without Node's 3000 header files, on which npm spends more
 * time than on all else. Each is what the lock file says, or it is not taken. Answers name and place of each, or null.
 */
async function unpackPrograms(lock, stage) {
  const fits = (entry) =>
    entry !== undefined &&
    (entry.os?.includes(process.platform) ?? true) &&
    (entry.cpu?.includes(process.arch) ?? true) &&
    entry.integrity.startsWith('sha512-')
  const wanted = Object.keys(lock.packages[''].optionalDependencies).flatMap((name) => {
    const entry = lock.packages[`node_modules/${name}`]
    return fits(entry) ? [{ name, version: entry.version, integrity: entry.integrity }] : []
  })
  const places = await Promise.all(
    wanted.map(async ({ name, version, integrity }, index) => {
      const place = join(stage, `program-${index}`)
      mkdirSync(join(place, 'out'), { recursive: true })
      if (!(await beside('npm', ['pack', '--silent', '--prefer-offline', `${name}@${version}`], place))) return null
      const packed = join(place, readdirSync(place).find((file) => file.endsWith('.tgz')) ?? '')
      const found = createHash('sha512').update(readFileSync(packed)).digest('base64')
      if (integrity !== `sha512-${found}`) return null
      const how = ['--no-same-owner', '--strip-components=1', '--exclude=*/include']
      if (!(await beside('tar', ['-xzf', packed, ...how, '-C', join(place, 'out')], place))) return null
      return [name, join(place, 'out')]
    }),
  )
  return places.includes(null) ? null : places
}

function debianPackages() {
  if (process.platform !== 'linux') return
  const asked = (word, packages) => (process.argv.includes(word) || process.argv.includes('--tests') ? packages : [])
  const wanted = [
    ...systemPackages,
    ...asked('--servers', serverPackages),
    ...asked('--debuggers', debuggerPackages),
    ...asked('--tests', testPackages),
  ]
  const missing = wanted.filter((item) => !existsSync(item.file))
  if (missing.length === 0) return
  const list = missing.map((item) => `  ${item.name}: ${item.why}`).join('\n')
  const command = `apt-get install -y --no-install-recommends ${missing.map((item) => item.name).join(' ')}`
  const canInstall =
    existsSync('/usr/bin/apt-get') && process.getuid?.() === 0 && process.env.STEAD_NO_SYSTEM_PACKAGES !== '1'
  if (!canInstall) {
    process.stderr.write(
      `setup: not installed, so weaker drivers will be used and named:\n${list}\n  To install them: ${command}\n`,
    )
    return
  }
  process.stderr.write(`setup: will install these Debian packages:\n${list}\n`)
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' }
  const install = ['install', '-y', '-qq', '--no-install-recommends', ...missing.map((item) => item.name)]
  run('Debian package lists', 'apt-get', ['update', '-qq'], { env })
  if (!run('Debian packages', 'apt-get', install, { env })) {
    process.stderr.write('setup: going on without them; weaker drivers will be used and named.\n')
  }
}

/** Takes half a second, and nothing when they are there already. */
function dashboardPages() {
  const result = spawnSync(join(root, 'scripts', 'node'), [join(root, 'scripts', 'dashboard.ts')], {
    cwd: root,
    stdio: ['ignore', 'ignore', 'pipe'],
    encoding: 'utf8',
  })
  if (result.status === 0) return
  const why = `${result.stderr ?? ''}${result.error?.message ?? ''}`.trimEnd().split('\n').slice(-5).join('\n')
  process.stderr.write(`setup: the pages of the dashboard could not be built; everything else works\n${why}\n`)
}

await nodeModules()
// Before the first program that runs on our Node.
debianPackages()
dashboardPages()
