/** Bech32, the form in which age writes its keys (BIP 173). Pure. */

const letters = 'qpzry9x8gf2tvdw0s3jn54khce6mua7l'
const generators = [0x3b6a57b2, 0x26508e6d, 0x1ea119fa, 0x3d4233dd, 0x2a1462b3] as const

/** Bytes as text that begins with `prefix`, in small letters, with a checksum at its end. */
export function bech32(prefix: string, bytes: Uint8Array): string {
  const words = inFives(bytes)
  const sum = checksum([...spread(prefix), ...words, 0, 0, 0, 0, 0, 0]) ^ 1
  const check = [25, 20, 15, 10, 5, 0].map((shift) => (sum >> shift) & 31)
  return `${prefix}1${[...words, ...check].map((word) => letters[word] ?? '').join('')}`
}

/** Eight bits at a time to five at a time; the last is filled with zeros. */
function inFives(bytes: Uint8Array): readonly number[] {
  const words: number[] = []
  let [held, bits] = [0, 0]
  for (const byte of bytes) {
    held = ((held & 31) << 8) | byte
    for (bits += 8; bits >= 5; bits -= 5) words.push((held >> (bits - 5)) & 31)
  }
  if (bits > 0) words.push((held << (5 - bits)) & 31)
  return words
}

function spread(prefix: string): readonly number[] {
  const codes = [...Buffer.from(prefix, 'latin1')]
  return [...codes.map((code) => code >> 5), 0, ...codes.map((code) => code & 31)]
}

function checksum(words: readonly number[]): number {
  return words.reduce((sum, word) => {
    const next = ((sum & 0x1ffffff) << 5) ^ word
    return generators.reduce((mixed, generator, bit) => (((sum >> 25) >> bit) & 1 ? mixed ^ generator : mixed), next)
  }, 1)
}
