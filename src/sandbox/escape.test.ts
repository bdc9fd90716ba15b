/**
 * What a program inside a bubblewrap sandbox can reach, tried from inside with a probe in Python, as an escape checker
 * would: system calls by number, files, processes, devices, privileges. Nothing is tried that would do harm if it worked:
 * calls get arguments that no kernel acts on, and files of the host are opened, never written.
 */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { after, before, suite, test } from 'node:test'
import { needsAll, needsFile, needsRoot } from '../../test/needs.ts'
import type { Sandbox, SandboxDriver, SandboxSpec, SyscallProfile } from './driver.ts'
import { variants } from './fixtures/drivers.ts'

const skip = needsAll(
  needsRoot(),
  needsFile('/usr/bin/bwrap', 'apt-get install bubblewrap'),
  needsFile('/usr/bin/python3', 'apt-get install python3'),
  process.arch === 'x64' ? false : 'the probe calls by the numbers of x86_64',
)

const hostUid = 231_073

/** Every call a sandboxed program has no business with, by its number on x86_64; arguments are invalid on purpose. */
const dangerous: Readonly<Record<string, number>> = {
  _sysctl: 156,
  acct: 163,
  add_key: 248,
  adjtimex: 159,
  bpf: 321,
  chroot: 161,
  clock_adjtime: 305,
  clock_settime: 227,
  clone3: 435,
  create_module: 174,
  delete_module: 176,
  fanotify_init: 300,
  finit_module: 313,
  fsconfig: 431,
  fsmount: 432,
  fsopen: 430,
  fspick: 433,
  init_module: 175,
  io_setup: 206,
  io_uring_enter: 426,
  io_uring_register: 427,
  io_uring_setup: 425,
  ioperm: 173,
  iopl: 172,
  kcmp: 312,
  kexec_file_load: 320,
  kexec_load: 246,
  keyctl: 250,
  lookup_dcookie: 212,
  migrate_pages: 256,
  modify_ldt: 154,
  mount: 165,
  mount_setattr: 442,
  move_mount: 429,
  move_pages: 279,
  name_to_handle_at: 303,
  nfsservctl: 180,
  open_by_handle_at: 304,
  open_tree: 428,
  perf_event_open: 298,
  pidfd_getfd: 438,
  pivot_root: 155,
  process_vm_readv: 310,
  process_vm_writev: 311,
  ptrace: 101,
  quotactl: 179,
  quotactl_fd: 443,
  reboot: 169,
  request_key: 249,
  setdomainname: 171,
  sethostname: 170,
  setns: 308,
  settimeofday: 164,
  swapoff: 168,
  swapon: 167,
  sysfs: 139,
  syslog: 103,
  umount2: 166,
  unshare: 272,
  uselib: 134,
  userfaultfd: 323,
  ustat: 136,
  vhangup: 153,
}

/** Answered by the `default` profile, because debuggers and databases use them. */
const forDebuggers = [
  'io_setup',
  'kcmp',
  'name_to_handle_at',
  'pidfd_getfd',
  'process_vm_readv',
  'process_vm_writev',
  'ptrace',
]

const probe = `
import ctypes, errno, json, os, socket, sys
libc = ctypes.CDLL(None, use_errno=True)
asked = json.load(open('/probe/asked.json'))

def call(number, *args):
    ctypes.set_errno(0)
    result = libc.syscall(ctypes.c_long(number), *[ctypes.c_long(a) for a in args])
    return 'answered' if result >= 0 else errno.errorcode[ctypes.get_errno()]

def attempt(act):
    try:
        act()
        return 'done'
    except OSError as error:
        return errno.errorcode[error.errno]

def write(path):
    return attempt(lambda: os.close(os.open(path, os.O_WRONLY | (0 if os.path.exists(path) else os.O_CREAT))))

def status(pid):
    return dict(line.rstrip('\\n').split(':\\t', 1) for line in open(f'/proc/{pid}/status') if ':\\t' in line)

invalid = [0x7fffffff, -1, -1, -1, -1, -1]
json.dump({
    'calls': {name: call(number, *invalid) for name, number in asked['calls'].items()},
    'namespaces': {hex(flag): call(56, flag | 17, 0, 0, 0, 0) for flag in asked['namespaceFlags']},
    'push': [call(16, 0, 0x5412, 0), call(16, 0, 0x5412 | 0xdead00000000, 0)],
    'sockets': {name: attempt(lambda: socket.socket(*args).close()) for name, args in asked['sockets'].items()},
    'seen': [path for path in asked['hidden'] if os.path.lexists(path) and (not os.path.isdir(path) or os.listdir(path))],
    'opened': [path for path in asked['readable'] if attempt(lambda: open(path, 'rb').read(1)) == 'done' and open(path, 'rb').read(1)],
    'written': {path: write(path) for path in asked['written']},
    'processes': sorted(int(name) for name in os.listdir('/proc') if name.isdigit()),
    'self': status('self'),
    'first': status(1),
    'devices': sorted(os.listdir('/dev')),
    'device': attempt(lambda: os.mknod('/tmp/device', 0o20600, os.makedev(1, 3))),
    'root': [attempt(lambda: os.setuid(0)), attempt(lambda: os.setgid(0))],
    'nosuid': {path: bool(os.statvfs(path).f_flag & os.ST_NOSUID) for path in ['/', '/usr', '/tmp']},
    'uids': open('/proc/self/uid_map').read().split(),
    'kill': attempt(lambda: os.kill(asked['neighbour'], 0)),
    'hostname': socket.gethostname(),
}, sys.stdout)
`

interface Answers {
  readonly calls: Readonly<Record<string, string>>
  readonly namespaces: Readonly<Record<string, string>>
  readonly push: readonly string[]
  readonly sockets: Readonly<Record<string, string>>
  readonly seen: readonly string[]
  readonly opened: readonly string[]
  readonly written: Readonly<Record<string, string>>
  readonly processes: readonly number[]
  readonly self: Readonly<Record<string, string>>
  readonly first: Readonly<Record<string, string>>
  readonly devices: readonly string[]
  readonly device: string
  readonly root: readonly string[]
  readonly nosuid: Readonly<Record<string, boolean>>
  readonly uids: readonly string[]
  readonly kill: string
  readonly hostname: string
}

const asked = {
  calls: dangerous,
  namespaceFlags: [0x00020000, 0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000],
  sockets: {
    unix: [1, 1, 0],
    internet: [2, 1, 0],
    route: [16, 3, 0],
    audit: [16, 3, 9],
    netfilter: [16, 3, 12],
    generic: [16, 3, 16],
    packet: [17, 3, 0],
    vsock: [40, 1, 0],
    alg: [38, 5, 0],
    bluetooth: [31, 3, 0],
    raw: [2, 3, 1],
  },
  hidden: [
    '/root',
    '/home',
    '/var/lib',
    '/var/log',
    '/etc/shadow',
    '/etc/ssh',
    '/sys',
    '/boot',
    '/srv',
    '/mnt',
    '/run/docker.sock',
    '/var/run/docker.sock',
    '/dev/kvm',
    '/dev/mem',
    '/dev/sda',
    '/dev/vda',
  ],
  readable: [
    '/proc/kallsyms',
    '/proc/keys',
    '/proc/kcore',
    '/proc/kmsg',
    '/proc/timer_list',
    '/proc/config.gz',
    '/proc/slabinfo',
  ],
  written: [
    '/new',
    '/usr/new',
    '/usr/bin/sh',
    '/etc/passwd',
    '/etc/new',
    '/app/given',
    '/app/new',
    '/dev/new',
    '/dev/null',
    '/proc/sys/kernel/core_pattern',
    '/proc/sys/kernel/hostname',
    '/proc/sys/vm/overcommit_memory',
    '/proc/sys/vm/panic_on_oom',
    '/proc/sys/user/max_user_namespaces',
    '/proc/sys/net/ipv4/ip_forward',
    '/proc/sysrq-trigger',
    '/tmp/new',
    '/dev/shm/new',
  ],
}

suite('escape from bubblewrap', { skip }, () => {
  let root = ''
  let driver: SandboxDriver
  let alive: NodeJS.Timeout
  let neighbour: Sandbox
  let count = 0
  const recordDirs: string[] = []

  function spec(argv: readonly string[], syscalls: SyscallProfile, uid = hostUid): SandboxSpec {
    const id = `escape-${process.pid}-${count++}`
    recordDirs.push(`${root}/${id}`)
    return {
      id,
      argv,
      env: { PATH: '/usr/bin' },
      cwd: '/tmp',
      mounts: [{ source: `${root}/app`, target: '/app', access: 'read-only' }],
      files: [
        { path: '/probe/probe.py', content: probe, mode: 0o400 },
        {
          path: '/probe/asked.json',
          content: JSON.stringify({ ...asked, neighbour: neighbour?.pid ?? 0 }),
          mode: 0o400,
        },
      ],
      hostUid: uid,
      limits: { memoryBytes: 128 * 2 ** 20, cpuCores: 1, pidsMax: 32, tmpBytes: 2 ** 20 },
      syscalls,
      network: null,
      recordDir: `${root}/${id}`,
      outputBytesMax: 2 ** 20,
    }
  }

  async function ask(syscalls: SyscallProfile): Promise<Answers> {
    const asking = spec(['python3', '/probe/probe.py'], syscalls)
    const exit = await (await driver.start(asking)).exited
    const lines = await Array.fromAsync(driver.output(asking.recordDir))
    assert.equal(exit.code, 0, `${exit.sentence}\n${lines.map((line) => line.text).join('\n')}`)
    return JSON.parse(lines.map((line) => line.text).join('')) as Answers
  }

  before(async () => {
    root = mkdtempSync(`${tmpdir()}/stead-escape-`)
    chmodSync(root, 0o711)
    spawnSync('mkdir', ['-p', `${root}/app`])
    writeFileSync(`${root}/app/given`, 'given', { mode: 0o666 })
    alive = setInterval(() => undefined, 1000)
    driver = variants.bubblewrap?.() ?? assert.fail('there is such a driver')
    neighbour = await driver.start(spec(['sh', '-c', 'echo secret >/tmp/mine; exec sleep 600'], 'strict', hostUid + 1))
  })

  after(async () => {
    await neighbour.kill()
    for (const recordDir of recordDirs) await driver.remove(recordDir)
    rmSync(root, { recursive: true, force: true })
    clearInterval(alive)
  })

  test('the trap: with a host root behind it, /proc/sys opens for writing; ours does not', async (context) => {
    const open = 'import os; os.close(os.open("/proc/sys/kernel/core_pattern", os.O_WRONLY)); print("open")'
    const naive = ['--unshare-user', '--unshare-pid', '--uid', '10001', '--gid', '10001', '--cap-drop', 'ALL']
    const paths = ['--ro-bind', '/', '/', '--proc', '/proc', '--dev', '/dev']
    const { stdout } = spawnSync('/usr/bin/bwrap', [...naive, ...paths, '/usr/bin/python3', '-c', open], {
      encoding: 'utf8',
    })
    context.diagnostic(
      `bubblewrap started by root without a user of its own: core_pattern ${stdout.trim() || 'stays closed'}`,
    )
    const tried = spec(['python3', '-c', open], 'strict')
    const exit = await (await driver.start(tried)).exited
    const lines = await Array.fromAsync(driver.output(tried.recordDir))
    assert.equal(exit.code, 1)
    assert.match(lines.at(-1)?.text ?? '', /Permission denied|Read-only file system/)
  })

  test('on the host it is a user of its own, with a filter and no privileges', () => {
    const status = readFileSync(`/proc/${neighbour.pid}/status`, 'utf8')
    assert.match(
      status,
      new RegExp(`^Uid:\\s+${hostUid + 1}\\s+${hostUid + 1}\\s+${hostUid + 1}\\s+${hostUid + 1}$`, 'm'),
    )
    assert.match(status, /^Groups:\s*(?:\d+\s*)?$/m)
    assert.match(status, /^Seccomp:\t2$/m)
  })

  for (const profile of ['strict', 'default'] as const) {
    test(`${profile}: what an escape checker asks`, async () => {
      const answers = await ask(profile)
      const open = profile === 'default' ? forDebuggers : []
      const refused = Object.entries(answers.calls).filter(([, answer]) => answer === 'EPERM' || answer === 'ENOSYS')
      const answered = Object.keys(dangerous).filter((name) => !refused.some(([call]) => call === name))
      assert.deepEqual(
        answered.filter((name) => !open.includes(name)),
        [],
        'dangerous calls that are answered',
      )
      assert.ok(refused.length >= 50, `${refused.length} refused`)

      assert.deepEqual(new Set(Object.values(answers.namespaces)), new Set(['EPERM']), 'clone into namespaces')
      assert.deepEqual(answers.push, ['EPERM', 'EPERM'], 'characters into a terminal')
      const sockets = Object.entries(answers.sockets).filter(([, answer]) => answer === 'done')
      assert.deepEqual(sockets.map(([name]) => name).sort(), ['internet', 'route', 'unix'])

      assert.deepEqual(answers.seen, [], 'files of the host that are visible')
      assert.deepEqual(answers.opened, [], 'files of /proc that tell of the host')
      const written = Object.entries(answers.written).filter(([, answer]) => answer === 'done')
      assert.deepEqual(written.map(([path]) => path).sort(), ['/dev/null', '/dev/shm/new', '/tmp/new'])

      assert.deepEqual(answers.processes, [1, 2], 'only its own processes')
      for (const who of [answers.self, answers.first]) {
        for (const set of ['CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb']) assert.match(who[set] ?? '', /^0+$/, set)
        assert.deepEqual([who.NoNewPrivs, who.Seccomp], ['1', '2'], 'also the first process, which it could write into')
      }
      const usual = [
        'core',
        'fd',
        'full',
        'null',
        'ptmx',
        'pts',
        'random',
        'shm',
        'stderr',
        'stdin',
        'stdout',
        'tty',
        'urandom',
        'zero',
        'console',
      ]
      assert.deepEqual(
        answers.devices.filter((device) => !usual.includes(device)),
        [],
      )
      assert.equal(answers.device, 'EPERM', 'devices cannot be made')
      assert.deepEqual(answers.root, ['EINVAL', 'EINVAL'], 'root does not exist inside')
      assert.deepEqual(Object.values(answers.nosuid), [true, true, true])
      assert.equal(answers.kill, 'ESRCH', 'the neighbour does not exist inside')
      assert.match(answers.hostname, /^escape-/)
    })
  }

  test('files of a neighbour are not reachable', async () => {
    const script = 'cat /tmp/mine; ls /proc/*/root/tmp/; cat /probe/probe.py | head -c 1 >/dev/null; echo end'
    const asking = spec(['sh', '-c', script], 'strict')
    await (
      await driver.start(asking)
    ).exited
    const text = (await Array.fromAsync(driver.output(asking.recordDir))).map((line) => line.text).join('\n')
    assert.ok(!text.includes('secret') && text.endsWith('end'), text)
  })

  test('secrets do not stand in arguments or environment that others of the host can read', () => {
    for (const pid of [keeperOf(`${root}/escape-${process.pid}-0`), neighbour.pid]) {
      assert.ok(!readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('PATH='), 'options travel by descriptor')
    }
  })
})

function keeperOf(recordDir: string): number {
  const record = JSON.parse(readFileSync(`${recordDir}/record.json`, 'utf8')) as {
    readonly keeper: { readonly pid: number }
  }
  return record.keeper.pid
}
