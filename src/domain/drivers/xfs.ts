/**
 * Trees as plain directories on XFS, whose files share their blocks: a copy takes a time that depends on the number of files,
 * not on their size, and no room. Whoever writes must be stopped meanwhile. On an XFS disk they lie directly in `root/trees`;
 * elsewhere in a disk image of the domain's own that is mounted there.
 */
import { mkdir, statfs } from 'node:fs/promises'
import type { Clock } from '../../base/index.ts'
import type { DomainCapabilities, DomainDriver, OpenDomain } from '../driver.ts'
import { directories } from './copy.ts'
import { defaultReserveBytes, ensureRoom, layout } from './files.ts'
import { detachImage, ensureImage, growImage, mountImage, unmountImage, xfsImage } from './image.ts'
import { runLong } from './tool.ts'
import { destroyTreeDomain, openTreeDomain } from './tree-domain.ts'
import type { Trees } from './trees.ts'

export interface XfsOptions {
  readonly clock: Clock
  /** Why this driver was taken and how to get a stronger one, one line each. */
  readonly weaker?: readonly string[]
  /** What the host's disk must keep free, in bytes, given its size; default the larger of 5 % and 1 GB. */
  readonly reserveBytes?: (totalBytes: number) => number
}

const xfsMagic = 0x58465342

/** The driver for Linux with XFS: as root, or on a disk that is XFS. */
export function xfsDriver({ clock, weaker = [], reserveBytes = defaultReserveBytes }: XfsOptions): DomainDriver {
  const inImage: DomainCapabilities = {
    quiesce: 'stop',
    instant: true,
    sizeLimit: true,
    replicate: 'refused',
    weaker: [
      'copies are plain directories: their time grows with the number of files, and only permissions protect a checkpoint',
      ...weaker,
    ],
  }
  const driver = {
    name: 'xfs',
    clock,
    async prepare({ root, sizeBytes }: OpenDomain, known: boolean): Promise<Trees> {
      const common = { root, driver: 'xfs', copy: copyOfBlocks, isWhole: false }
      if (await isOnXfs(root)) {
        if (!known) await ensureRoom(`make a domain under ${root}`, root, 0, reserveBytes)
        await mkdir(layout(root).trees, { recursive: true })
        const more = ['no limit of its own: the domain shares the disk with all else on it']
        const capabilities = { ...inImage, sizeLimit: false, weaker: [...inImage.weaker, ...more] }
        return directories({ ...common, capabilities, reserveBytes })
      }
      await ensureImage(root, sizeBytes, known, reserveBytes, xfsImage)
      const { directIo } = await mountImage(root, xfsImage)
      const more = directIo ? [] : [`the disk under ${root} cannot do direct I/O: data is cached twice`]
      const capabilities = { ...inImage, weaker: [...inImage.weaker, ...more] }
      // The image is the domain's alone: nobody else needs room in it.
      return directories({
        ...common,
        capabilities,
        reserveBytes: () => 0,
        grow: (bytes) => growImage(root, bytes, reserveBytes, xfsImage),
        close: () => unmountImage(root),
      })
    },
  }
  return {
    name: driver.name,
    capabilities: inImage,
    open: (options) => openTreeDomain(driver, options),
    destroy: (root) =>
      destroyTreeDomain(root, async () => {
        await unmountImage(root)
        await detachImage(root)
      }),
  }
}

/** Whether a directory lies on XFS. */
export async function isOnXfs(path: string): Promise<boolean> {
  return (await statfs(path)).type === xfsMagic
}

/** Every file of the copy has the blocks of the one it was made from, until one of them is written to. */
async function copyOfBlocks(from: string, to: string): Promise<void> {
  await runLong(`copy ${from}`, ['cp', '--archive', '--reflink=always', '--no-target-directory', from, to])
}
