/** The face of `objects`: object storage behind one interface, an embedded S3 server, and any other S3 server. */
export { keyBytesMax, metadataBytesMax, pageMax, presignSecondsMax } from './store.ts'
export type {
  Content,
  Durability,
  GetOptions,
  Listed,
  ListOptions,
  ObjectCapabilities,
  ObjectPage,
  ObjectRead,
  ObjectStat,
  ObjectStore,
  PresignOptions,
  PutOptions,
} from './store.ts'
export { bucketCapabilities } from './bucket/keys.ts'
export { bucketProvider } from './bucket/provider.ts'
export type { BucketProviderOptions } from './bucket/provider.ts'
export { openEmbeddedObjects } from './drivers/embedded/embedded.ts'
export type { BucketOptions, EmbeddedObjects, EmbeddedOptions, ListenOptions } from './drivers/embedded/embedded.ts'
export type { ListeningServer } from './drivers/embedded/server.ts'
export { makeS3Bucket } from './drivers/s3/bucket.ts'
export { nativeClientConfig } from './drivers/s3/native.ts'
export type { NativeClientConfig } from './drivers/s3/native.ts'
export { openS3Store } from './drivers/s3/s3.ts'
export type { S3Options } from './drivers/s3/s3.ts'
export { probeS3, refuseUnless } from './drivers/s3/probe.ts'
export type { ObjectNeeds, Probe, ProbeOptions } from './drivers/s3/probe.ts'
export { openSnapshotStore } from './drivers/snapshots/snapshots.ts'
export type { SnapshotOptions, SnapshotStore } from './drivers/snapshots/snapshots.ts'
export type { SnapshotDatabase } from './drivers/snapshots/database.ts'
export type { Collected, CollectOptions } from './drivers/snapshots/collect.ts'
export type { NamesClient } from './drivers/snapshots/postgres.ts'
export type { Account } from './s3/acl.ts'
export type { Right } from './s3/access.ts'
export type { Credential } from './s3/authenticate.ts'
