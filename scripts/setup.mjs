#!/usr/bin/env node
/**
 * Makes a fresh clone able to run: node modules (with the pinned Node) and, on Debian as root, the system packages that
 * the stronger drivers need. Says what it will do before it does it, and does nothing when all is there. Plain
 * JavaScript, because it runs on whatever Node the machine has, before ours is installed.
 */
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = join(dirname(fileURLToPath(import.meta.url)), '..')

/** Debian packages: what they give us, and the file that shows they are there. */
const systemPackages = [
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

function fail(message, hint) {
  process.stderr.write(`setup: ${message}\n  ${hint}\n`)
  process.exit(1)
}

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
  process.stderr.write(`setup: ${what} ${ok ? 'done' : 'FAILED'} in ${((Date.now() - startMs) / 1000).toFixed(1)} s\n`)
  if (!ok)
    process.stderr.write(
      `${result.stderr ?? ''}${result.error?.message ?? ''}`.trimEnd().split('\n').slice(-10).join('\n') + '\n',
    )
  return ok
}

function nodeModules() {
  const stamp = join(root, 'node_modules', '.stead-setup')
  const wanted = createHash('sha256')
    .update(readFileSync(join(root, 'package-lock.json')))
    .digest('hex')
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === wanted) return
  // Not `npm ci`: it refuses a lock file that lacks the optional packages of other platforms. Versions and integrity come
  // from the lock file all the same, and `--no-save` keeps it as it is.
  const install = ['install', '--no-save', '--ignore-scripts', '--loglevel=error']
  if (!run('node modules, with Node 26 (about 300 MB, once)', 'npm', install)) {
    fail(
      'npm install failed',
      'See the lines above; the npm registry must be reachable. Then run the same command again.',
    )
  }
  writeFileSync(stamp, wanted)
}

function debianPackages() {
  if (process.platform !== 'linux') return
  const wanted = process.argv.includes('--servers') ? [...systemPackages, ...serverPackages] : systemPackages
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

nodeModules()
dashboardPages()
debianPackages()
