/**
 * Where backups go, as a value: a directory (of another disk), or a bucket of an S3 server.
 *
 * Invariant: no text that is made of a target holds a secret; credentials are named by where they stand.
 */
import { SteadError } from '../base/index.ts'

export type Target =
  | { readonly kind: 'directory'; readonly path: string }
  | {
      readonly kind: 's3'
      /** Such as `https://s3.example.com`. */
      readonly endpoint: string
      readonly bucket: string
      /** Folders within the bucket; empty: its root. */
      readonly prefix: string
      readonly region: string | null
      /**
       * A file, its owner's alone, with `aws_access_key_id = ...` and `aws_secret_access_key = ...`; null: the variables of that
       * name in capitals in the environment.
       */
      readonly credentialsFile: string | null
    }

/**
 * A target as a person writes it: an absolute path, or `s3:https://HOST[:PORT]/BUCKET[/PREFIX]`. Throws `backup.bad-target`.
 */
export function parseTarget(
  text: string,
  options: { readonly region?: string; readonly credentialsFile?: string } = {},
): Target {
  if (text.startsWith('/') && !text.includes('\0')) return { kind: 'directory', path: text.replace(/(?<=.)\/+$/, '') }
  const url = /^s3:https?:\/\//.test(text) ? URL.parse(text.slice('s3:'.length)) : null
  if (url === null) {
    throw bad('The target of backups is neither an absolute path nor of the form s3:https://HOST/BUCKET.')
  }
  if (url.username !== '' || url.password !== '' || url.search !== '' || url.hash !== '') {
    throw bad(`The target of backups at ${url.host} has more in its address than server, bucket and folders.`)
  }
  const [bucket = '', ...folders] = url.pathname.split('/').slice(1)
  if (!/^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/.test(bucket)) {
    throw bad(`The target of backups at ${url.host} names no bucket: 3 to 63 small letters, digits, dots and dashes.`)
  }
  return {
    kind: 's3',
    endpoint: url.origin,
    bucket,
    prefix: folders.filter((folder) => folder !== '').join('/'),
    region: options.region ?? null,
    credentialsFile: options.credentialsFile ?? null,
  }
}

/** The target in words, for messages. */
export function placeOf(target: Target): string {
  if (target.kind === 'directory') return target.path
  const folders = target.prefix === '' ? '' : `/${target.prefix}`
  return `s3:${target.endpoint}/${target.bucket}${folders}`
}

/** Keys of an S3 server. */
export interface S3Credentials {
  readonly accessKeyId: string
  readonly secretAccessKey: string
  readonly sessionToken: string | null
}

/**
 * Credentials from lines `name = value`, as the tools of AWS write them or as a shell sets them. Null when one is missing.
 */
export function parseCredentials(text: string): S3Credentials | null {
  const values = new Map(
    [...text.matchAll(/^\s*(?:export\s+)?(aws_[a-z_]+)\s*=\s*(.*?)\s*$/gim)].map(([, name = '', value = '']) => [
      name.toLowerCase(),
      value.replace(/^(["'])(.*)\1$/, '$2'),
    ]),
  )
  const accessKeyId = values.get('aws_access_key_id') ?? ''
  const secretAccessKey = values.get('aws_secret_access_key') ?? ''
  if (accessKeyId === '' || secretAccessKey === '') return null
  return { accessKeyId, secretAccessKey, sessionToken: values.get('aws_session_token') ?? null }
}

function bad(message: string): SteadError {
  return new SteadError({
    code: 'backup.bad-target',
    message,
    hint: 'Write /mnt/disk/backups, or s3:https://s3.example.com/bucket/folder; keys of S3 go into a file or the environment.',
  })
}
