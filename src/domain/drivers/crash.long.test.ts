/** A kill at every step of every change, from the first opening of a new domain to its closing, for all drivers: minutes. */
import { suite } from 'node:test'
import { systemClock } from '../../base/index.ts'
import { needsAll, needsFile, needsFileSystem, needsRoot } from '../../../test/needs.ts'
import { crashTests } from '../crash.conformance.ts'
import { btrfsDriver } from './btrfs.ts'
import { copyDriver } from './copy.ts'
import { xfsDriver } from './xfs.ts'

const at = (file: string): string => new URL(file, import.meta.url).href

suite('copy', () => {
  const load = { module: at('copy.ts'), name: 'copyDriver', options: {} }
  crashTests({ driver: copyDriver({ clock: systemClock }), load, sizeBytes: 1, skip: false }, 'everything')
})

const skip = needsAll(
  needsRoot(),
  needsFile('/usr/sbin/mkfs.btrfs', 'apt-get install btrfs-progs'),
  needsFile('/dev/loop-control', 'loop devices in the kernel'),
  needsFileSystem('btrfs'),
)
suite('btrfs', { skip }, () => {
  const load = { module: at('btrfs.ts'), name: 'btrfsDriver', options: {} }
  crashTests({ driver: btrfsDriver({ clock: systemClock }), load, sizeBytes: 300_000_000, skip }, 'everything')
})

const skipXfs = needsAll(
  needsRoot(),
  needsFile('/usr/sbin/mkfs.xfs', 'apt-get install xfsprogs'),
  needsFile('/dev/loop-control', 'loop devices in the kernel'),
  needsFileSystem('xfs'),
)
suite('xfs', { skip: skipXfs }, () => {
  const load = { module: at('xfs.ts'), name: 'xfsDriver', options: {} }
  crashTests({ driver: xfsDriver({ clock: systemClock }), load, sizeBytes: 330_000_000, skip: skipXfs }, 'everything')
})
