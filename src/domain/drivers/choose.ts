/** Chooses the strongest driver that this machine can run, and says what a stronger one would need. */
import { existsSync } from 'node:fs'
import { mkdir, readFile } from 'node:fs/promises'
import { type Clock, SteadError } from '../../base/index.ts'
import type { DomainDriver } from '../driver.ts'
import { btrfsDriver, isOnBtrfs } from './btrfs.ts'
import { copyDriver } from './copy.ts'
import { CatalogFile } from './files.ts'
import { run } from './tool.ts'
import { isOnXfs, xfsDriver } from './xfs.ts'

/** Drivers that can be asked for. */
export type AskedDriver = 'btrfs' | 'xfs'

/**
 * The driver for a domain under `root`: the one that made it, or for a new one the one that is asked for, or else btrfs where
 * it can run, else xfs where that can, else copy. `capabilities.weaker` name what is missing for a stronger one and how to get
 * it. Throws `domain.driver-unavailable` where the one that is asked for cannot run.
 */
export async function chooseDomainDriver(options: {
  readonly root: string
  readonly clock: Clock
  readonly asked?: AskedDriver | null
}): Promise<DomainDriver> {
  const { root, clock, asked = null } = options
  await mkdir(root, { recursive: true })
  const missing = await missingForBtrfs(root)
  const made = (await new CatalogFile(root).read())?.driver
  if (made === undefined && asked === 'xfs') {
    refuseUnavailable(asked, await missingForXfs(root))
    return xfsDriver({ clock, weaker: ['xfs was asked for: with btrfs, checkpoints are taken while writers go on'] })
  }
  if (made === undefined && asked === 'btrfs') refuseUnavailable(asked, missing)
  if (made === 'btrfs' || (made === undefined && missing.length === 0)) return btrfsDriver({ clock })
  if (made === 'xfs' || (made === undefined && (await missingForXfs(root)).length === 0))
    return xfsDriver({ clock, weaker: missing })
  const older = 'this domain was made with plain copies: make a new one and move the data to get instant checkpoints'
  return copyDriver({ clock, weaker: missing.length === 0 ? [older] : missing })
}

function refuseUnavailable(asked: AskedDriver, missing: readonly string[]): void {
  if (missing.length === 0) return
  throw new SteadError({
    code: 'domain.driver-unavailable',
    message: `Data cannot be kept with ${asked} on this machine: ${missing.join('; ')}.`,
    hint: 'Install what is missing, or ask for no driver: then the strongest that runs here is taken.',
  })
}

/** What instant checkpoints would need on this machine for a domain under `root`, one line each; empty when all is there. */
export async function missingForBtrfs(root: string): Promise<readonly string[]> {
  if (process.platform !== 'linux') return [`instant checkpoints need Linux with btrfs; this is ${process.platform}`]
  const missing: string[] = []
  if (!(await mayMount())) missing.push('instant checkpoints need to run as root, with the right to mount')
  if (!onPath('btrfs')) missing.push('instant checkpoints need btrfs-progs: apt-get install btrfs-progs')
  if (await isOnBtrfs(root)) return missing
  if (!onPath('losetup') || !onPath('fallocate'))
    missing.push('instant checkpoints need losetup and fallocate: util-linux')
  if (!(await kernelKnows('btrfs'))) missing.push('instant checkpoints need btrfs in the kernel')
  if (!existsSync('/dev/loop-control') && !(await kernelKnows('loop'))) {
    missing.push('instant checkpoints need loop devices (/dev/loop-control)')
  }
  return missing
}

/** What copies that share their blocks on XFS would need on this machine, one line each; empty when all is there. */
export async function missingForXfs(root: string): Promise<readonly string[]> {
  if (process.platform !== 'linux') return [`quick copies need Linux with XFS; this is ${process.platform}`]
  if (await isOnXfs(root)) return []
  const missing: string[] = []
  if (!(await mayMount())) missing.push('quick copies need to run as root, with the right to mount')
  if (!onPath('mkfs.xfs') || !onPath('xfs_growfs')) missing.push('quick copies need xfsprogs: apt-get install xfsprogs')
  if (!onPath('losetup') || !onPath('fallocate')) missing.push('quick copies need losetup and fallocate: util-linux')
  if (!(await kernelKnows('xfs'))) missing.push('quick copies need XFS in the kernel')
  if (!existsSync('/dev/loop-control') && !(await kernelKnows('loop')))
    missing.push('quick copies need loop devices (/dev/loop-control)')
  return missing
}

function onPath(program: string): boolean {
  return ['/usr/sbin', '/usr/bin', '/sbin', '/bin', '/usr/local/bin'].some((path) => existsSync(`${path}/${program}`))
}

/** Whether the process has CAP_SYS_ADMIN (bit 21), which root in a container often lacks. */
async function mayMount(): Promise<boolean> {
  const held = /^CapEff:\s*([0-9a-f]+)$/m.exec(await readFile('/proc/self/status', 'utf8'))?.[1] ?? '0'
  return process.getuid?.() === 0 && ((BigInt(`0x${held}`) >> 21n) & 1n) === 1n
}

/** Whether the kernel has it, or has a module for it that mount will load. */
async function kernelKnows(name: string): Promise<boolean> {
  if ((await readFile('/proc/filesystems', 'utf8')).includes(`\t${name}\n`)) return true
  return run(`look for the module ${name}`, ['modprobe', '--dry-run', '--quiet', name]).then(
    () => true,
    () => false,
  )
}
