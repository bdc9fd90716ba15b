/**
 * Limit groups of version 2, which a machine with version 1 cannot offer: the conformance suite inside a virtual machine.
 * Debian's cloud kernel runs under QEMU without hardware help, with a root file system in memory that holds the host's own
 * programs, Node and this source. About two minutes, because the processor is emulated.
 *
 * Invariants: nothing is installed and no network used but the package download; all of it lies in one directory, which
 * is removed.
 */
import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import {
  appendFileSync,
  copyFileSync,
  cpSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { test } from 'node:test'
import { needsAll, needsFile, needsRoot } from '../../test/needs.ts'
import { systemClock } from '../base/index.ts'

const skip = needsAll(
  needsRoot(),
  process.arch === 'x64' ? false : 'the guest is one of x86_64',
  needsFile('/usr/bin/qemu-system-x86_64', 'apt-get install qemu-system-x86'),
  needsFile('/usr/bin/bwrap', 'apt-get install bubblewrap'),
  needsFile('/usr/bin/s6-log', 'apt-get install s6'),
  needsFile('/usr/bin/chrt', 'apt-get install util-linux'),
  needsFile('/usr/bin/apt-get', 'this is not Debian'),
)

const packagePattern = '^linux-image-6\\.1\\.0-[0-9]+-cloud-amd64-unsigned$'
const downloadTimeoutMs = 120_000

/** Downloads and unpacks a kernel below `directory`; its path, or the reason why there is none. */
function fetchKernel(directory: string): { readonly path: string } | { readonly missing: string } {
  const run = (command: string, args: readonly string[]): string =>
    spawnSync(command, args, { cwd: directory, encoding: 'utf8', timeout: downloadTimeoutMs }).stdout ?? ''
  const names = run('apt-cache', ['search', '--names-only', packagePattern])
    .split('\n')
    .map((line) => line.split(' ')[0] ?? '')
  const [newest] = names.filter(Boolean).sort((a, b) => b.localeCompare(a, 'en', { numeric: true }))
  if (newest === undefined) return { missing: 'needs a Debian cloud kernel in the package lists: apt-get update' }
  run('apt-get', ['download', newest])
  const [archive] = readdirSync(directory).filter((name) => name.endsWith('.deb'))
  if (archive === undefined) return { missing: `needs the package ${newest}, which could not be downloaded` }
  run('dpkg-deb', ['-x', archive, 'kernel'])
  const [kernel] = readdirSync(`${directory}/kernel/boot`).filter((name) => name.startsWith('vmlinuz'))
  return kernel === undefined
    ? { missing: `${newest} holds no kernel` }
    : { path: `${directory}/kernel/boot/${kernel}` }
}

const programs =
  `sh bwrap s6-log setpriv mkfifo mv env sort tr ls sed cat sleep seq head stat wc setsid mkdir rm cp mount ln
  echo printf switch_root touch true chrt`.split(/\s+/)

/** The first program of the machine: out of the first root, which cannot be pivoted, into one that can. */
const firstInit = `#!/bin/sh
mount -t tmpfs -o mode=755 none /new
cp -a /usr /bin /lib /lib64 /sbin /etc /repo /second /new/
mkdir -p /run /new/proc /new/sys /new/dev /new/tmp /new/run
exec switch_root /new /second
`

function secondInit(command: string): string {
  return `#!/bin/sh
export PATH=/usr/bin:/usr/sbin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/shm /dev/pts
ln -s /proc/self/fd /dev/fd
ln -s /proc/self/fd/1 /dev/stdout
mount -t tmpfs -o mode=1777 tmp /tmp
mount -t cgroup2 cgroup2 /sys/fs/cgroup
${command}
echo "guest: ended with $?"
echo o >/proc/sysrq-trigger
sleep 60
`
}

/** Makes the root file system as an archive; `command` runs in it, with this repository's source under /repo. */
function makeRoot(directory: string, repository: string, command: string): string {
  const root = `${directory}/root`
  for (const path of ['usr/bin', 'usr/sbin', 'usr/lib', 'usr/lib64', 'etc', 'new', 'repo/test', 'proc', 'sys', 'dev']) {
    mkdirSync(`${root}/${path}`, { recursive: true })
  }
  for (const name of ['bin', 'sbin', 'lib', 'lib64']) symlinkSync(`usr/${name}`, `${root}/${name}`)
  const found = programs.map(
    (name) => ['/usr/bin', '/usr/sbin', '/bin'].map((place) => `${place}/${name}`).find(exists) ?? '',
  )
  for (const path of [...found.filter(Boolean), process.execPath]) {
    const target = path === process.execPath ? '/usr/bin/node' : path.replace(/^\/bin/, '/usr/bin')
    copyFileSync(path, `${root}${target}`)
    for (const library of librariesOf(path)) {
      const inside = `${root}${library.replace(/^\/lib/, '/usr/lib')}`
      mkdirSync(dirname(inside), { recursive: true })
      copyFileSync(library, inside)
    }
  }
  cpSync(`${repository}/src`, `${root}/repo/src`, { recursive: true })
  // What the suite says of the machine it runs on.
  const helpers = readdirSync(`${repository}/test`).filter((name) => name.endsWith('.ts') && !name.endsWith('.test.ts'))
  for (const name of helpers) copyFileSync(`${repository}/test/${name}`, `${root}/repo/test/${name}`)
  writeFileSync(`${root}/repo/package.json`, '{ "type": "module" }')
  writeFileSync(`${root}/etc/passwd`, 'root:x:0:0:root:/:/bin/sh\n')
  writeFileSync(`${root}/init`, firstInit, { mode: 0o755 })
  writeFileSync(`${root}/second`, secondInit(command), { mode: 0o755 })
  return pack(root, `${directory}/root.cpio`)
}

function exists(path: string): boolean {
  return lstatSync(path, { throwIfNoEntry: false }) !== undefined
}

function librariesOf(path: string): readonly string[] {
  const { stdout } = spawnSync('ldd', [path], { encoding: 'utf8' })
  return [...stdout.matchAll(/(\/\S+) \(0x/g)].map((match) => match[1] ?? '')
}

/** The "newc" archive that kernels unpack. */
function pack(root: string, archive: string): string {
  writeFileSync(archive, '')
  let inode = 1
  const put = (name: string, mode: number, content: Buffer): void => {
    const fields = [inode++, mode, 0, 0, 1, 0, content.length, 0, 0, 0, 0, Buffer.byteLength(name) + 1, 0]
    const head = Buffer.from(`070701${fields.map((field) => field.toString(16).padStart(8, '0')).join('')}${name}\0`)
    const padding = (length: number): Buffer => Buffer.alloc((4 - (length % 4)) % 4)
    appendFileSync(archive, Buffer.concat([head, padding(head.length), content, padding(content.length)]))
  }
  // Listing goes through symbolic links to directories; what lies behind them is packed where it is.
  const behindLink = /^(?:bin|sbin|lib|lib64)\//
  const entries = readdirSync(root, { recursive: true, encoding: 'utf8' }).filter((entry) => !behindLink.test(entry))
  for (const entry of entries.sort()) {
    const path = join(root, entry)
    const { mode } = lstatSync(path)
    if (lstatSync(path).isSymbolicLink()) put(entry, mode, Buffer.from(readlinkSync(path)))
    else put(entry, mode, lstatSync(path).isDirectory() ? Buffer.alloc(0) : readFileSync(path))
  }
  put('TRAILER!!!', 0, Buffer.alloc(0))
  return archive
}

/** Boots, and answers what the machine wrote until it ended or the time was over. */
async function boot(kernel: string, root: string, timeoutMs: number): Promise<string> {
  const hardware =
    '-accel tcg -cpu max -m 1536 -smp 2 -M q35 -nodefaults -no-user-config -no-reboot -nographic -serial stdio'
  const cmdline = 'console=ttyS0 quiet panic=-1 tsc=reliable no_timer_check'
  const args = [...hardware.split(' '), '-kernel', kernel, '-initrd', root, '-append', cmdline]
  const machine = spawn('qemu-system-x86_64', args, { stdio: ['ignore', 'pipe', 'pipe'] })
  const said: Buffer[] = []
  machine.stdout.on('data', (chunk: Buffer) => said.push(chunk))
  machine.stderr.on('data', (chunk: Buffer) => said.push(chunk))
  using _timer = systemClock.after(timeoutMs, () => machine.kill('SIGKILL'))
  await new Promise((resolve) => machine.once('close', resolve))
  return Buffer.concat(said).toString()
}

const guestTimeoutMs = 280_000
const command =
  'cd /repo && node --disable-warning=ExperimentalWarning --test --test-isolation=none --test-reporter=tap src/sandbox/fixtures/guest-suite.ts'

test('the conformance suite passes on limit groups of version 2', { skip }, async (context) => {
  const directory = mkdtempSync(`${tmpdir()}/stead-guest-`)
  try {
    const kernel = fetchKernel(directory)
    if ('missing' in kernel) return context.skip(kernel.missing)
    const root = makeRoot(directory, join(import.meta.dirname, '../..'), command)
    const said = await boot(kernel.path, root, guestTimeoutMs)
    const failed = said.match(/^ *not ok .*$/gm) ?? []
    assert.deepEqual(failed, [], said.slice(-20_000))
    assert.match(said, /guest: ended with 0/, said.slice(-5_000))
    assert.match(said, /^ok 1 - limit groups here are of version 2/m)
    assert.match(said, /^ok 2 - classes of CPU are held here: best effort/m)
    context.diagnostic(`${said.match(/^ +ok /gm)?.length ?? 0} cases passed in the guest`)
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
})
