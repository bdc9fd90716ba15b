/**
 * Makes a disk for machines of tests and of examples: a Debian with cloud-init and PostgreSQL that boots by itself, as qcow2 and
 * raw, and its kernel beside it. Needs root, debootstrap, mkfs.ext4, and what `scripts/machines.ts` fetches.
 *
 *     scripts/node scripts/machine-disk.ts [DIRECTORY]     also puts disk.qcow2 there
 *
 * Invariant: nothing is installed here and no file system is mounted; a disk appears whole or not at all.
 */
import { chmodSync, copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync } from 'node:fs'
import { closeSync, openSync, symlinkSync, truncateSync, writeFileSync, writeSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { cached, fetchDebianPackages, fetchDebianRoot, fetching, run } from '../test/fetch.ts'
import { machineDisk, machineParts } from '../test/machine-parts.ts'

const suite = 'bookworm'
/** debootstrap does not follow what packages only provide, so what cloud-init needs that way is named: python3-cffi-backend. */
const packages = [
  'systemd-sysv',
  // Without it there is no logind, and without that nobody hears the power button.
  'dbus',
  'udev',
  'kmod',
  'iproute2',
  'initramfs-tools',
  'linux-image-cloud-amd64',
  'python3-cffi-backend',
  'cloud-init',
  'postgresql',
]
const diskBytes = 3 * 2 ** 30
const sectorBytes = 512
/** The first partition, where every partitioning program puts it; boot code has its place before it. */
const firstSector = 2048
/** What every GRUB can read. */
const features =
  'none,has_journal,ext_attr,resize_inode,dir_index,filetype,extent,flex_bg,sparse_super,large_file,huge_file,dir_nlink,extra_isize'
/** Where the network of a machine is: QEMU's own. */
const nameServer = '10.0.2.3'

/** What is put into the root, by path. */
const files: Readonly<Record<string, string>> = {
  // Not looked through at each boot: its journal is replayed when it is mounted.
  'etc/fstab': '/dev/vda1 / ext4 errors=remount-ro 0 0\n',
  'etc/hostname': 'machine\n',
  'etc/hosts': '127.0.0.1 localhost\n',
  'etc/resolv.conf': `nameserver ${nameServer}\n`,
  'etc/systemd/network/10-all.network': '[Match]\nType=ether\n[Network]\nDHCP=ipv4\n[DHCPv4]\nUseDNS=no\n',
  // Only what is needed to find the disk: a small one is unpacked soon, also where the processor is emulated.
  'etc/initramfs-tools/conf.d/machine': 'MODULES=list\nCOMPRESS=gzip\n',
  'etc/initramfs-tools/modules': 'virtio_pci\nvirtio_blk\next4\n',
  // Of cloud-init only what is asked for here, and nothing in its last stage: each is a start of Python, ten emulated seconds.
  'etc/cloud/cloud.cfg.d/90-machine.cfg': [
    'datasource_list: [NoCloud, None]',
    'network: {config: disabled}',
    'cloud_init_modules: [bootcmd, write-files, set_hostname]',
    'cloud_config_modules: [runcmd, scripts-user]',
    'cloud_final_modules: []',
    '',
  ].join('\n'),
  // Whoever may open the console of a machine is its root.
  'etc/systemd/system/serial-getty@ttyS0.service.d/machine.conf':
    '[Service]\nExecStart=\nExecStart=-/sbin/agetty --autologin root --keep-baud 115200 - vt220\n',
}

/** What a machine has no use for that has one disk, one network and a console: each is a program that is started at a boot. */
const units: readonly string[] = `
  cloud-final.service cloud-init-hotplugd.socket apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer fstrim.timer
  e2scrub_all.timer e2scrub_reap.service systemd-binfmt.service proc-sys-fs-binfmt_misc.automount dev-hugepages.mount
  dev-mqueue.mount sys-fs-fuse-connections.mount sys-kernel-config.mount sys-kernel-debug.mount sys-kernel-tracing.mount
  modprobe@.service systemd-pstore.service systemd-network-generator.service systemd-update-utmp.service
  systemd-update-utmp-runlevel.service getty-static.service getty@tty1.service`
  .trim()
  .split(/\s+/)
/** What makes units at a boot and at each reload, from what such a machine does not have. */
const generators: readonly string[] = [
  // It looks for where cloud-init is to be asked; here it always is.
  'cloud-init',
  ...[
    'cryptsetup',
    'gpt-auto',
    'hibernate-resume',
    'integritysetup',
    'rc-local',
    'system-update',
    'sysv',
    'veritysetup',
  ].map((name) => `systemd-${name}`),
]
const kernelWords = 'root=/dev/vda1 ro console=ttyS0 quiet systemd.show_status=yes'

function makeDisk(): void {
  const grub = cached('grub-1')
  if (!existsSync(grub)) fetchDebianPackages(['grub-common', 'grub-pc-bin'], grub)
  fetching((dir) => {
    const root = join(dir, 'root')
    fetchDebianRoot(suite, packages, root, [])
    prepare(root)
    const made = join(dir, 'made')
    mkdirSync(made)
    const boot = join(root, 'boot')
    for (const [kind, name] of [['vmlinuz', 'vmlinuz'] as const, ['initrd.img', 'initrd.img'] as const]) {
      const found = readdirSync(boot).find((file) => file.startsWith(`${kind}-`))
      if (found === undefined) throw new Error(`the kernel of ${suite} has brought no ${kind}`)
      copyFileSync(join(boot, found), join(made, name))
    }
    const disk = join(made, 'disk.raw')
    writeFileSync(disk, '')
    truncateSync(disk, diskBytes)
    const offset = firstSector * sectorBytes
    const size = `${(diskBytes - offset) / 1024}k`
    run(dir, 'mkfs.ext4', '-q', '-O', features, '-d', root, '-E', `offset=${offset}`, disk, size)
    writeBoot(disk, grub, dir)
    run(dir, ...qemuImage(), 'convert', '-c', '-O', 'qcow2', disk, join(made, 'disk.qcow2'))
    for (const name of readdirSync(made)) chmodSync(join(made, name), 0o644)
    chmodSync(made, 0o755)
    mkdirSync(dirname(machineDisk.place), { recursive: true, mode: 0o755 })
    // It may be another file system.
    run(dir, 'cp', '-r', '--sparse=always', made, `${machineDisk.place}.new`)
    renameSync(`${machineDisk.place}.new`, machineDisk.place)
  })
}

function prepare(root: string): void {
  for (const [path, content] of Object.entries(files)) {
    mkdirSync(dirname(join(root, path)), { recursive: true })
    rmSync(join(root, path), { force: true })
    writeFileSync(join(root, path), content)
  }
  run('/', 'chroot', root, 'update-initramfs', '-u')
  run('/', 'chroot', root, 'systemctl', 'enable', 'systemd-networkd')
  run('/', 'chroot', root, 'passwd', '-q', '-d', 'root')
  const [version = ''] = readdirSync(join(root, 'usr/lib/postgresql'))
  if (!existsSync(join(root, 'etc/postgresql', version, 'main')))
    run('/', 'chroot', root, 'pg_createcluster', '--locale', 'C.UTF-8', version, 'main')
  const system = join(root, 'etc/systemd/system')
  for (const unit of units) symlinkSync('/dev/null', join(system, unit))
  mkdirSync(join(root, 'etc/systemd/system-generators'))
  for (const name of generators)
    symlinkSync('/dev/null', join(root, 'etc/systemd/system-generators', `${name}-generator`))
  symlinkSync('/lib/systemd/system/cloud-init.target', join(system, 'multi-user.target.wants/cloud-init.target'))
  rmSync(join(root, 'var/cache/apt/archives'), { recursive: true, force: true })
  rmSync(join(root, 'var/lib/apt/lists'), { recursive: true, force: true })
  // Each machine is its own.
  writeFileSync(join(root, 'etc/machine-id'), '')
}

/** The boot code of GRUB in front of the partition, with what it is to boot in it. */
function writeBoot(disk: string, grub: string, dir: string): void {
  const modules = join(grub, 'usr/lib/grub/i386-pc')
  const config = join(dir, 'grub.cfg')
  writeFileSync(config, `set root=(hd0,msdos1)\nlinux /vmlinuz ${kernelWords}\ninitrd /initrd.img\nboot\n`)
  const core = join(dir, 'core.img')
  const wanted = ['biosdisk', 'part_msdos', 'ext2', 'linux', 'boot']
  const prefix = '(hd0,msdos1)/boot/grub'
  const command = [join(grub, 'usr/bin/grub-mkimage'), '-d', modules, '-O', 'i386-pc', '-p', prefix, '-c', config]
  run(dir, ...command, '-o', core, ...wanted)
  const first = Buffer.alloc(sectorBytes)
  readFileSync(join(modules, 'boot.img')).copy(first, 0, 0, 440)
  // One partition: active, Linux, from there to the end.
  first.set([0x80, 0xfe, 0xff, 0xff, 0x83, 0xfe, 0xff, 0xff], 446)
  first.writeUInt32LE(firstSector, 454)
  first.writeUInt32LE(diskBytes / sectorBytes - firstSector, 458)
  first.writeUInt16LE(0xaa55, 510)
  const code = readFileSync(core)
  if (code.length > (firstSector - 1) * sectorBytes) throw new Error('the boot code is larger than its place')
  const file = openSync(disk, 'r+')
  writeSync(file, first, 0, sectorBytes, 0)
  writeSync(file, code, 0, code.length, sectorBytes)
  closeSync(file)
}

/** With its libraries, where it was unpacked and not installed. */
function qemuImage(): readonly string[] {
  const { root } = machineParts
  if (root === null) return ['qemu-img']
  const libraries = ['usr/lib/x86_64-linux-gnu', 'lib/x86_64-linux-gnu'].map((path) => join(root, path)).join(':')
  return ['env', `LD_LIBRARY_PATH=${libraries}`, join(root, 'usr/bin/qemu-img')]
}

if (!existsSync(machineDisk.place)) makeDisk()
process.stdout.write(`machine-disk: ${machineDisk.place} holds ${readdirSync(machineDisk.place).join(', ')}\n`)
const [directory] = process.argv.slice(2)
if (directory !== undefined) {
  copyFileSync(join(machineDisk.place, 'disk.qcow2'), join(directory, 'disk.qcow2'))
  process.stdout.write(`machine-disk: ${join(directory, 'disk.qcow2')} is a copy of it\n`)
}
