/** The face of `domain`: where all data of one app lives, and can be copied at one moment, cloned and exchanged as a whole. */
export type {
  Domain,
  DomainCapabilities,
  DomainCopy,
  DomainDriver,
  DomainUsage,
  OpenDomain,
  Replica,
  ReplicaTarget,
} from './driver.ts'
export { btrfsDriver } from './drivers/btrfs.ts'
export type { BtrfsOptions } from './drivers/btrfs.ts'
export { copyDriver } from './drivers/copy.ts'
export type { CopyOptions } from './drivers/copy.ts'
export { xfsDriver } from './drivers/xfs.ts'
export type { XfsOptions } from './drivers/xfs.ts'
export { chooseDomainDriver, missingForBtrfs } from './drivers/choose.ts'
export type { AskedDriver } from './drivers/choose.ts'
export { capabilityTable } from './table.ts'
