/**
 * Reads the types of a kernel in the form it carries them itself (BTF): where members lie in its structures. Pure.
 *
 * Invariant: never reads beyond what it was given; what is damaged or unknown is null.
 */

/** Sizes of what follows the head of a type, by its kind, in bytes for each of its entries and once. */
const entryBytes: Readonly<Record<number, number>> = { 4: 12, 5: 12, 6: 8, 13: 8, 15: 12, 19: 12 }
const onceBytes: Readonly<Record<number, number>> = { 1: 4, 3: 12, 14: 4, 17: 4 }
const kindStruct = 4
const headBytes = 12
const magic = 0xeb9f

/** Offsets in bytes of members of structures; null for one that is not there. */
export function memberOffsets(
  btf: Buffer,
  wanted: Readonly<Record<string, readonly string[]>>,
): Readonly<Record<string, number | null>> {
  const found: Record<string, number | null> = {}
  for (const [struct, members] of Object.entries(wanted))
    for (const member of members) found[`${struct}.${member}`] = null
  if (btf.length < 24 || btf.readUInt16LE(0) !== magic) return found
  const head = btf.readUInt32LE(4)
  const types = btf.subarray(head + btf.readUInt32LE(8)).subarray(0, btf.readUInt32LE(12))
  const names = btf.subarray(head + btf.readUInt32LE(16)).subarray(0, btf.readUInt32LE(20))
  const nameAt = (at: number): string => names.toString('latin1', at, names.indexOf(0, at))
  for (let at = 0; at + headBytes <= types.length;) {
    const info = types.readUInt32LE(at + 4)
    const kind = (info >>> 24) & 31
    const entries = info & 0xffff
    const bytes = headBytes + (entryBytes[kind] ?? 0) * entries + (onceBytes[kind] ?? 0)
    const members = kind === kindStruct ? wanted[nameAt(types.readUInt32LE(at))] : undefined
    if (members !== undefined && at + bytes <= types.length) {
      const struct = nameAt(types.readUInt32LE(at))
      for (let entry = 0; entry < entries; entry++) {
        const member = at + headBytes + entry * 12
        const name = nameAt(types.readUInt32LE(member))
        // In bits; where there are bit fields the upper eight are the width of one.
        const bits = types.readUInt32LE(member + 8) & (info >>> 31 === 1 ? 0xffffff : 0xffffffff)
        if (members.includes(name)) found[`${struct}.${name}`] = bits / 8
      }
    }
    at += bytes
  }
  return found
}
