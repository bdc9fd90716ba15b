/** Tags of objects and buckets: pairs of texts, with the limits of S3. Pure. */
import { S3Failure } from './failure.ts'
import { decode } from './request.ts'
import { childOf, childrenNamed, requiredText } from './xml.ts'
import type { XmlElement, XmlTree } from './xml.ts'

/** Pairs in the order of their keys. */
export type Tags = readonly (readonly [string, string])[]

/** Tags of an object; a bucket has up to 50. */
export const objectTagsMax = 10
export const bucketTagsMax = 50
const keyCharactersMax = 128
const valueCharactersMax = 256

/** Reads `Tagging`. Throws MalformedXML or InvalidTag. */
export function readTags(root: XmlElement, tagsMax: number): Tags {
  const set = childOf(root, 'TagSet')
  return checked(
    childrenNamed(set, 'Tag').map((tag) => [requiredText(tag, 'Key'), requiredText(tag, 'Value')]),
    tagsMax,
  )
}

/** Reads the header `x-amz-tagging`: pairs as in a query. Throws InvalidArgument or InvalidTag. */
export function readTagHeader(header: string | undefined): Tags {
  const pieces = (header ?? '').split('&').filter((piece) => piece !== '')
  const pairs = pieces.map((piece): [string, string] => {
    const equals = piece.indexOf('=')
    const [key, value] = equals === -1 ? [piece, ''] : [piece.slice(0, equals), piece.slice(equals + 1)]
    return [decode(key, true), decode(value, true)]
  })
  return checked(pairs, objectTagsMax)
}

function checked(pairs: Tags, tagsMax: number): Tags {
  if (pairs.length > tagsMax) throw new S3Failure('InvalidTag', `There can be at most ${tagsMax} tags.`)
  if (new Set(pairs.map(([key]) => key)).size < pairs.length) throw new S3Failure('InvalidTag', 'A tag is given twice.')
  for (const [key, value] of pairs) {
    if (key === '' || key.length > keyCharactersMax || value.length > valueCharactersMax || key.startsWith('aws:')) {
      throw new S3Failure('InvalidTag', 'A tag has a key of 1 to 128 characters and a value of at most 256.')
    }
  }
  return pairs.toSorted(([a], [b]) => (a < b ? -1 : 1))
}

/** The tags as they are shown. */
export function tagsTree(tags: Tags): XmlTree {
  return { TagSet: { Tag: tags.map(([Key, Value]) => ({ Key, Value })) } }
}
