/**
 * Trees as btrfs subvolumes: copies are snapshots, taken at one moment while writers go on, in a time that does not
 * depend on the size. On a btrfs disk they lie directly in `root/trees`; elsewhere in a disk image of the domain's own
 * that is mounted there.
 */
import { mkdir, stat, statfs } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { type Clock, SteadError } from '../../base/index.ts'
import type { DomainCapabilities, DomainDriver, OpenDomain } from '../driver.ts'
import { defaultReserveBytes, ensureRoom, layout, usageOf } from './files.ts'
import { btrfsImage, detachImage, ensureImage, growImage, mountImage, unmountImage } from './image.ts'
import { feed, outputOf, run } from './tool.ts'
import { destroyTreeDomain, openTreeDomain, treesOnDisk } from './tree-domain.ts'
import type { Trees } from './trees.ts'

export interface BtrfsOptions {
  readonly clock: Clock
  /** What the host's disk must keep free, in bytes, given its size; default the larger of 5 % and 1 GB. */
  readonly reserveBytes?: (totalBytes: number) => number
}

/** How long it is looked how much of a copy is its own. */
const duMs = 2000

const btrfsMagic = 0x9123683e
/** The inode number of the root of every subvolume. */
const subvolumeInode = 256

const inImage: DomainCapabilities = {
  quiesce: 'none',
  instant: true,
  sizeLimit: true,
  replicate: 'native',
  weaker: [],
}

/** The driver for Linux with btrfs, as root. */
export function btrfsDriver({ clock, reserveBytes = defaultReserveBytes }: BtrfsOptions): DomainDriver {
  const driver = {
    name: 'btrfs',
    clock,
    async prepare({ root, sizeBytes }: OpenDomain, known: boolean): Promise<Trees> {
      if (await isOnBtrfs(root)) {
        if (!known) await ensureRoom(`make a domain under ${root}`, root, 0, reserveBytes)
        await mkdir(layout(root).trees, { recursive: true })
        const weaker = ['no limit of its own: the domain shares the disk with all else on it']
        return subvolumes(root, { ...inImage, sizeLimit: false, weaker }, unlimited)
      }
      await ensureImage(root, sizeBytes, known, reserveBytes, btrfsImage)
      const { directIo } = await mountImage(root, btrfsImage)
      const weaker = directIo ? [] : [`the disk under ${root} cannot do direct I/O: data is cached twice`]
      return subvolumes(
        root,
        { ...inImage, weaker },
        {
          grow: (bytes) => growImage(root, bytes, reserveBytes, btrfsImage),
          close: () => unmountImage(root),
        },
      )
    },
  }
  return {
    name: driver.name,
    capabilities: inImage,
    open: (options) => openTreeDomain(driver, options),
    destroy: (root) => destroyTreeDomain(root, () => removeTrees(root)),
  }
}

/** Whether a directory lies on btrfs. */
export async function isOnBtrfs(path: string): Promise<boolean> {
  return (await statfs(path)).type === btrfsMagic
}

async function removeTrees(root: string): Promise<void> {
  const { trees } = layout(root)
  await unmountImage(root)
  for (const tree of await treesOnDisk(root)) await removeSubvolume(join(trees, String(tree), 'data'))
  await detachImage(root)
}

/** Of trees that lie on a disk with others. */
const unlimited: Pick<Trees, 'grow' | 'close'> = { grow: async () => {}, close: async () => {} }

function subvolumes(
  root: string,
  capabilities: DomainCapabilities,
  { grow, close }: Pick<Trees, 'grow' | 'close'>,
): Trees {
  return {
    capabilities,
    async create(path) {
      await run(`make ${path}`, ['btrfs', 'subvolume', 'create', path])
    },
    async copy(from, to, readOnly) {
      await refuseNested(from)
      const flags = readOnly ? ['-r'] : []
      await run(`copy ${from}`, ['btrfs', 'subvolume', 'snapshot', ...flags, from, to])
      // Again, because a writer may have made one meanwhile.
      await refuseNested(from)
    },
    remove: removeSubvolume,
    async sync(path) {
      await run(`make ${path} durable`, ['btrfs', 'filesystem', 'sync', path])
    },
    send(path, base) {
      const parent = base === null ? [] : ['-p', base]
      return outputOf(`send ${path}`, ['btrfs', 'send', '--quiet', ...parent, path])
    },
    async receive(path, stream) {
      const into = dirname(path)
      await feed(`receive ${path}`, ['btrfs', 'receive', '--quiet', '--chroot', '-e', into], stream)
      if (!(await isSubvolume(path))) {
        throw new SteadError({
          code: 'domain.broken-stream',
          message: `What was received for ${path} is not a checkpoint of a domain.`,
          hint: 'Only the stream of another domain of the driver btrfs can be received.',
        })
      }
    },
    usage: () => usageOf(layout(root).trees),
    ownBytes: exclusiveBytes,
    grow,
    close,
  }
}

/** What a subvolume does not share with another; null when it takes long to find out, as with very many extents. */
async function exclusiveBytes(path: string): Promise<number | null> {
  const text = await run(`measure ${path}`, ['btrfs', 'filesystem', 'du', '--summarize', '--raw', path], duMs).catch(
    () => '',
  )
  const exclusive = /^\s*\d+\s+(\d+)\s/m.exec(text)?.[1]
  return exclusive === undefined ? null : Number(exclusive)
}

/**
 * A snapshot leaves out subvolumes inside the tree: it would be a checkpoint with holes. (Any process that may write to a
 * directory can make one, so it has to be looked for.)
 */
async function refuseNested(path: string): Promise<void> {
  const [first] = await nestedIn(path)
  if (first === undefined) return
  throw new SteadError({
    code: 'domain.nested-subvolume',
    message: `${first} is a btrfs subvolume inside the domain, and a copy would leave out what is in it.`,
    hint: 'Move its files into a plain directory and delete it (btrfs subvolume delete).',
  })
}

/** The subvolumes directly below a subvolume, as absolute paths. */
async function nestedIn(path: string): Promise<readonly string[]> {
  const listed = await run(`look into ${path}`, ['btrfs', 'subvolume', 'list', '-o', path])
  if (listed.trim() === '') return []
  const [own = ''] = (await run(`look at ${path}`, ['btrfs', 'subvolume', 'show', path])).split('\n')
  const inside = [...listed.matchAll(/^ID .* path (.*)$/gm)].map((match) => match[1] ?? '')
  return inside.filter((name) => name.startsWith(`${own}/`)).map((name) => join(path, name.slice(own.length + 1)))
}

async function removeSubvolume(path: string): Promise<void> {
  if (!(await isSubvolume(path))) return
  for (const nested of await nestedIn(path)) await removeSubvolume(nested)
  await run(`delete ${path}`, ['btrfs', 'subvolume', 'delete', '--commit-after', path])
}

async function isSubvolume(path: string): Promise<boolean> {
  const found = await stat(path).catch(() => null)
  return found !== null && found.isDirectory() && found.ino === subvolumeInode
}
