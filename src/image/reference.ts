/**
 * What names an image: `oci:` before a registry's name (`oci:host/name:tag@sha256:...`), a layout or archive or directory on
 * disk (`oci:./path`), or the name of one that was built here (`oci:name`, which has no host). Pure.
 */
import { SteadError } from '../base/index.ts'
import { isDigest, type Digest } from './digest.ts'

export interface RegistryReference {
  readonly kind: 'registry'
  /** Host with its port. */
  readonly host: string
  /** Path of the repository. */
  readonly repository: string
  /** Null where only a digest was given. */
  readonly tag: string | null
  readonly digest: Digest | null
}

export type ImageReference =
  | RegistryReference
  /** A file or directory, absolute or relative to the app file. */
  | { readonly kind: 'path'; readonly path: string }
  /** Built here, by name or digest. */
  | { readonly kind: 'local'; readonly name: string }

const component = '[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*'
const repositoryPattern = new RegExp(`^${component}(?:/${component})*$`)
const tagPattern = /^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$/
const hostPattern = /^(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9a-fA-F:]+\])(?::\d{1,5})?$/
const referenceBytesMax = 1024

/** Reads a reference; the `oci:` in front may be left out. Throws `image.bad-reference`. */
export function parseReference(text: string): ImageReference {
  const bare = text.startsWith('oci:') ? text.slice('oci:'.length) : text
  if (bare === '' || bare.length > referenceBytesMax || /[\0\s]/.test(bare))
    throw bad(text, 'it is empty, too long or holds spaces')
  if (bare.startsWith('/') || bare.startsWith('./') || bare.startsWith('../')) return { kind: 'path', path: bare }
  const at = bare.indexOf('@')
  const digest = at === -1 ? null : bare.slice(at + 1)
  if (digest !== null && !isDigest(digest)) throw bad(text, `${digest} is no digest of sha256`)
  const named = at === -1 ? bare : bare.slice(0, at)
  const slash = named.indexOf('/')
  const first = slash === -1 ? '' : named.slice(0, slash)
  const isHost = first.includes('.') || first.includes(':') || first === 'localhost'
  const path = isHost ? named.slice(slash + 1) : named
  const colon = path.indexOf(':')
  const repository = colon === -1 ? path : path.slice(0, colon)
  const tag = colon === -1 ? null : path.slice(colon + 1)
  if (!repositoryPattern.test(repository))
    throw bad(text, `${repository} is no name of a repository: lower-case letters, digits, dots, dashes`)
  if (tag !== null && !tagPattern.test(tag)) throw bad(text, `${tag} is no tag`)
  if (!isHost) {
    if (digest !== null) throw bad(text, 'an image with a digest needs the host of its registry')
    return { kind: 'local', name: tag === null ? repository : `${repository}:${tag}` }
  }
  if (!hostPattern.test(first)) throw bad(text, `${first} is no host`)
  return { kind: 'registry', host: first, repository, tag: tag ?? (digest === null ? 'latest' : null), digest }
}

/** A registry's reference as people write it, with the digest it has been resolved to. */
export function showReference({ host, repository, tag, digest }: RegistryReference): string {
  return `${host}/${repository}${tag === null ? '' : `:${tag}`}${digest === null ? '' : `@${digest}`}`
}

function bad(text: string, why: string): SteadError {
  return new SteadError({
    code: 'image.bad-reference',
    message: `${JSON.stringify(text.slice(0, 200))} names no image: ${why}.`,
    hint: "As in 'oci:registry.example.org/team/web:1.4', 'oci:./image.tar', or the name of one made by `stead image build`.",
  })
}
