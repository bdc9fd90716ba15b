/**
 * A file system in a file of its own, for hosts whose disk is another one: btrfs, or XFS.
 *
 * Invariants: all of the file's blocks are the file's from the start, so a full host disk cannot make a write inside
 * fail that the file system has already promised; the file is attached once; the device goes away with the mount.
 *
 * Why the options are what they are (figures in docs/decisions/0002-domain-on-btrfs-image.md):
 * - `fallocate`, `mkfs -K`, `nodiscard`: a discard would give blocks back to the host, and undo the promise above.
 * - direct I/O: data is cached once, and an error of the host's disk reaches the one who wrote.
 * - 4096-byte tree nodes: a durable write of 8 kB costs 48 kB with them, and 109 kB with the usual ones of 16 kB.
 * - 4096-byte sectors: direct I/O works also on disks that know no smaller ones.
 * - `noatime`: else every read writes, and unshares metadata from the snapshots.
 * - `nodev,nosuid`: the domain is data; what a sandboxed app leaves there is no way to more rights.
 * - btrfs keeps checksums, copy-on-write and the second copy of metadata: without them a torn or rotten block is served as if
 *   it were good, and one of metadata takes the whole file system with it. XFS has checksums of its metadata only.
 */
import { existsSync } from 'node:fs'
import { mkdir, readFile, realpath, rename, rm, stat, writeFile } from 'node:fs/promises'
import { basename } from 'node:path'
import { SteadError } from '../../base/index.ts'
import { corrupt } from '../catalog.ts'
import { ensureRoom, layout } from './files.ts'
import { run } from './tool.ts'

/** Smaller than this, btrfs mixes data and metadata and is full long before it is full. */
export const imageBytesMin: number = 256 * 1024 * 1024

const mountOptions = 'noatime,nodiscard,nodev,nosuid'
const blockBytes = 4096

/** A kind of file system that an image can hold. */
export interface ImageKind {
  readonly type: 'btrfs' | 'xfs'
  /** Below it the file system does not work, or not well. */
  readonly bytesMin: number
  /** Makes it; the image comes last. */
  readonly mkfs: readonly [string, ...string[]]
  /** Lets it fill the image once that is mounted; the place comes last. */
  readonly grow: readonly [string, ...string[]]
}

export const btrfsImage: ImageKind = {
  type: 'btrfs',
  bytesMin: imageBytesMin,
  mkfs: [
    'mkfs.btrfs',
    '--quiet',
    '--nodiscard',
    '--nodesize',
    String(blockBytes),
    '--metadata',
    'dup',
    '--label',
    'stead',
  ],
  grow: ['btrfs', 'filesystem', 'resize', 'max'],
}

export const xfsImage: ImageKind = {
  type: 'xfs',
  // mkfs.xfs makes none that is smaller.
  bytesMin: 300 * 1024 * 1024,
  mkfs: ['mkfs.xfs', '-q', '-f', '-K', '-m', 'reflink=1', '-s', `size=${blockBytes}`, '-L', 'stead'],
  grow: ['xfs_growfs'],
}

/** Makes the image file under `root`, or makes a smaller one larger. Throws `domain.disk-full`, `domain.too-small`. */
export async function ensureImage(
  root: string,
  sizeBytes: number,
  known: boolean,
  reserveBytes: (totalBytes: number) => number,
  kind: ImageKind,
): Promise<void> {
  const { image, catalog } = layout(root)
  const halfMade = `${image}.new`
  await rm(halfMade, { force: true })
  const wantedBytes = Math.floor(sizeBytes / blockBytes) * blockBytes
  const heldBytes = existsSync(image) ? (await stat(image)).size : 0
  if (heldBytes >= wantedBytes && heldBytes > 0) return
  if (heldBytes === 0 && known) throw corrupt(catalog, `its disk image ${image} is not there`)
  if (wantedBytes < kind.bytesMin) {
    throw new SteadError({
      code: 'domain.too-small',
      message: `A domain in a disk image needs at least ${kind.bytesMin} bytes, and ${sizeBytes} were asked for under ${root}.`,
      hint: 'Ask for a larger domain.',
    })
  }
  await ensureRoom(`reserve the disk image ${image}`, root, wantedBytes - heldBytes, reserveBytes)
  const reserve = (path: string): Promise<string> =>
    run(`reserve the disk image ${image}`, ['fallocate', '--posix', '--length', String(wantedBytes), path])
  if (heldBytes > 0) {
    await reserve(image)
    return
  }
  // It holds all data of the app, whatever the modes of the files inside.
  await writeFile(halfMade, '', { mode: 0o600 })
  await reserve(halfMade)
  await run(`format the disk image ${image}`, [...kind.mkfs, halfMade])
  await rename(halfMade, image)
}

/** Makes the image of a domain that is open at least that large. Throws `domain.disk-full`. */
export async function growImage(
  root: string,
  sizeBytes: number,
  reserveBytes: (totalBytes: number) => number,
  kind: ImageKind,
): Promise<void> {
  await ensureImage(root, sizeBytes, true, reserveBytes, kind)
  await mountImage(root, kind)
}

/** Mounts the image at `root/trees`, if it is not mounted already, and lets the file system fill it. */
export async function mountImage(root: string, kind: ImageKind): Promise<{ readonly directIo: boolean }> {
  const { image, trees } = layout(root)
  await mkdir(trees, { recursive: true })
  let mounted = await mountAt(trees)
  if (mounted?.readOnly === true) {
    // The file system went read-only after an error. A new mount replays its log and tells what is wrong, if anything.
    await unmountImage(root)
    mounted = null
  }
  if (mounted === null) {
    const device = await attach(image)
    try {
      await run(`mount the disk image ${image}`, [
        'mount',
        '--types',
        kind.type,
        '--options',
        mountOptions,
        device,
        trees,
      ])
    } finally {
      // On a mounted device this means: detach it when it is unmounted.
      await run(`hand ${device} over to its mount`, ['losetup', '--detach', device])
    }
    mounted = await mountAt(trees)
  }
  const held = mounted === null ? null : await loopOf(mounted.source)
  if (mounted === null || held?.file !== (await realpath(image))) {
    throw new SteadError({
      code: 'domain.other-mount',
      message: `Something else than ${image} is mounted at ${trees}: ${mounted?.source ?? 'nothing that can be found'}.`,
      hint: `Unmount it (umount ${trees}), then open the domain again.`,
    })
  }
  await run(`let ${trees} fill its image`, ['losetup', '--set-capacity', mounted.source])
  await run(`let ${trees} fill its image`, [...kind.grow, trees])
  return { directIo: held.directIo }
}

/** Unmounts the image. Throws `domain.busy` while a process uses it. */
export async function unmountImage(root: string): Promise<void> {
  const { trees } = layout(root)
  if ((await mountAt(trees)) === null) return
  try {
    await run(`unmount ${trees}`, ['umount', trees])
  } catch (cause) {
    throw new SteadError({
      code: 'domain.busy',
      message: `${trees} cannot be unmounted: a process still uses it.`,
      hint: `Stop what runs on this domain first (fuser -vm ${trees} lists it).`,
      retry: 'later',
      cause,
    })
  }
}

/** Lets go of devices that a crash between attaching and mounting has left on the image. */
export async function detachImage(root: string): Promise<void> {
  const { image } = layout(root)
  if (!existsSync(image)) return
  const listed = await run(`look for devices of ${image}`, [
    'losetup',
    '--noheadings',
    '--output',
    'NAME',
    '--associated',
    image,
  ])
  for (const device of listed.split('\n').filter((line) => line !== '')) {
    try {
      await run(`detach ${device}`, ['losetup', '--detach', device])
    } catch (error) {
      // One that was mounted a moment ago detaches itself: what is gone, or has another file by now, is no longer ours.
      if ((await loopOf(device))?.file === (await realpath(image))) throw error
    }
  }
}

/** Attaches the file to a loop device, or finds the one it is attached to: two devices on one file would destroy it. */
async function attach(image: string): Promise<string> {
  const options = ['--find', '--show', '--nooverlap', '--direct-io=on', '--sector-size', String(blockBytes)]
  return (await run(`attach the disk image ${image}`, ['losetup', ...options, image])).trim()
}

async function loopOf(device: string): Promise<{ readonly file: string; readonly directIo: boolean } | null> {
  const at = `/sys/block/${basename(device)}/loop`
  const read = (name: string): Promise<string> => readFile(`${at}/${name}`, 'utf8')
  // They go away with the file that is attached, at any moment.
  const found = await Promise.all([read('backing_file'), read('dio')]).catch(() => null)
  return found === null ? null : { file: found[0].trimEnd(), directIo: found[1].trim() === '1' }
}

interface Mount {
  readonly source: string
  readonly readOnly: boolean
}

/** What is mounted at a path in this process's view, the topmost if several. */
async function mountAt(path: string): Promise<Mount | null> {
  const wanted = await realpath(path).catch(() => path)
  const lines = (await readFile('/proc/self/mountinfo', 'utf8')).trimEnd().split('\n')
  const found = lines.map((line) => line.split(' ')).findLast((fields) => unescape(fields[4] ?? '') === wanted)
  if (found === undefined) return null
  const [source = '', superOptions = ''] = found.slice(found.indexOf('-') + 2)
  return { source, readOnly: superOptions.split(',').includes('ro') }
}

/** Spaces and the like stand in mountinfo as octal numbers. */
function unescape(text: string): string {
  return text.replaceAll(/\\([0-7]{3})/g, (_, octal: string) => String.fromCodePoint(Number.parseInt(octal, 8)))
}
