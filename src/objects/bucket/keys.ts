/**
 * The keys to a bucket: from what a consumer is granted to what the server takes. They live in the server's memory alone, since
 * whoever checks a signature has to know the key: nothing in the data, and so in no checkpoint or backup, lets anybody in.
 *
 * Invariant: a key may do what its grant says and nothing else; `presign` alone reads nothing itself.
 */
import type { Right } from '../s3/access.ts'
import type { Credential } from '../s3/authenticate.ts'
import type { ObjectCapabilities } from '../store.ts'

/** Whose the bucket is: nobody has the key of this account. */
export const bucketAccount = 'stead'

/** What a consumer is granted. */
export interface KeyGrant {
  readonly user: string
  readonly password: string
  /** Rights of a use; null: all. */
  readonly rights: readonly string[] | null
}

const plain: readonly Right[] = ['read', 'write', 'list']

/** The key of a grant. */
export function credentialOf(bucket: string, { user, password, rights }: KeyGrant): Credential {
  const own = plain.filter((right) => rights === null || rights.includes(right))
  // A link to an object is what signing is for; writing or listing by URL takes the right itself too.
  const signs = rights === null || rights.includes('presign')
  const presigned = signs ? plain.filter((right) => right === 'read' || own.includes(right)) : []
  return {
    accessKeyId: user,
    secretAccessKey: password,
    account: bucketAccount,
    rights: { [bucket]: own },
    presigned: { [bucket]: presigned },
  }
}

/** What the server of a bucket can do, for the driver that speaks with it. */
export const bucketCapabilities: ObjectCapabilities = {
  putIfAbsent: true,
  putIfMatch: true,
  checksums: true,
  presign: true,
  paging: true,
  versions: true,
  durability: 'fsync',
}
