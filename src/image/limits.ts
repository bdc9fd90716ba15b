/** Bounds of everything that is read of an image. Exceeding one is an error with its name. */
import { SteadError } from '../base/index.ts'

export type LimitName =
  | 'documentBytesMax'
  | 'indexEntriesMax'
  | 'layersMax'
  | 'layerBytesMax'
  | 'unpackedBytesMax'
  | 'entriesMax'
  | 'pathBytesMax'
  | 'nameBytesMax'
  | 'depthMax'
  | 'extendedHeaderBytesMax'
  | 'redirectsMax'
  | 'tokenBytesMax'

export const imageLimits: Readonly<Record<LimitName, number>> = {
  /** A manifest, an index, an image's configuration. */
  documentBytesMax: 4 * 2 ** 20,
  /** Entries of an index: architectures, attestations. */
  indexEntriesMax: 1000,
  /** As many as overlayfs takes in one page of options, one kept for what is written. */
  layersMax: 127,
  /** One layer as it is stored or sent. */
  layerBytesMax: 16 * 2 ** 30,
  /** One layer once it is unpacked. */
  unpackedBytesMax: 32 * 2 ** 30,
  /** Files, directories and links of one layer. */
  entriesMax: 1_000_000,
  /** Of a path in a layer, and of the target of a link. */
  pathBytesMax: 4095,
  nameBytesMax: 255,
  depthMax: 128,
  /** Extended headers of an archive: long names, and attributes that are left out. */
  extendedHeaderBytesMax: 2 ** 20,
  redirectsMax: 5,
  tokenBytesMax: 64 * 2 ** 10,
}

/** Throws `image.too-large` with the limit's name when it is exceeded. */
export function holdLimit(name: LimitName, value: number, where: string): void {
  if (value <= imageLimits[name]) return
  throw new SteadError({
    code: 'image.too-large',
    message: `${where} is beyond the limit ${name} of ${imageLimits[name]}.`,
    hint: 'Make the image smaller; a bound that no honest image reaches keeps a hostile one from filling the machine.',
  })
}
