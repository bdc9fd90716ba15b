/**
 * The symbols of a running kernel, from its own table, as an ELF file that debuggers read. Pure.
 *
 * Invariant: addresses are those of the running kernel, so the file fits it alone, wherever it was loaded to.
 */

/** A symbol as the kernel lists it. */
export interface KernelSymbol {
  readonly address: bigint
  readonly isCode: boolean
  readonly name: string
}

const headerBytes = 64
const sectionBytes = 64
const symbolBytes = 24

/** Reads the kernel's table; symbols of modules, of single processors, and those whose addresses are hidden, are left out. */
export function parseSymbols(table: string): readonly KernelSymbol[] {
  return table.split('\n').flatMap((line) => {
    const [address = '', type = '', name = ''] = line.split(' ')
    if (!/^ffff[0-9a-f]{12}$/.test(address) || name === '' || name.includes('\t')) return []
    return [{ address: BigInt(`0x${address}`), isCode: /[tTwW]/.test(type), name }]
  })
}

/** An ELF file of x86_64 with these symbols and nothing else. */
export function symbolFile(symbols: readonly KernelSymbol[]): Buffer {
  const names = Buffer.from(`\0${symbols.map(({ name }) => name).join('\0')}\0`, 'latin1')
  const table = Buffer.alloc((symbols.length + 1) * symbolBytes)
  let nameAt = 1
  for (const [index, { address, isCode, name }] of symbols.entries()) {
    const at = (index + 1) * symbolBytes
    table.writeUInt32LE(nameAt, at)
    // Global, and a function or an object. All in one section: code and data of a kernel lie between one another.
    table.writeUInt8(isCode ? 0x12 : 0x11, at + 4)
    table.writeUInt16LE(1, at + 6)
    table.writeBigUInt64LE(address, at + 8)
    nameAt += name.length + 1
  }
  const titles = ['', '.text', '.symtab', '.strtab', '.shstrtab']
  const titleTable = Buffer.from(`${titles.join('\0')}\0`)
  const contents = [table, names, titleTable]
  const offsets = contents.map((_, index) =>
    contents.slice(0, index).reduce((sum, { length }) => sum + length, headerBytes),
  )
  const [tableAt = 0, namesAt = 0, titlesAt = 0] = offsets
  const nothing = { type: 0, flags: 0, address: 0n, at: 0, bytes: 0, link: 0, info: 0, entry: 0 }
  const addresses = symbols.map(({ address }) => address)
  const [low, high] = [least(addresses), most(addresses)]
  const sections = [
    nothing,
    // In memory only, and executable.
    { ...nothing, type: 8, flags: 6, address: low, bytes: Number(high - low) + 4096 },
    { ...nothing, type: 2, at: tableAt, bytes: table.length, link: 3, info: 1, entry: symbolBytes },
    { ...nothing, type: 3, at: namesAt, bytes: names.length },
    { ...nothing, type: 3, at: titlesAt, bytes: titleTable.length },
  ]
  const headers = Buffer.concat(
    sections.map((section, index) => {
      const header = Buffer.alloc(sectionBytes)
      header.writeUInt32LE(titleTable.indexOf(`${titles[index]}\0`), 0)
      header.writeUInt32LE(section.type, 4)
      header.writeBigUInt64LE(BigInt(section.flags), 8)
      header.writeBigUInt64LE(section.address, 16)
      header.writeBigUInt64LE(BigInt(section.at), 24)
      header.writeBigUInt64LE(BigInt(section.bytes), 32)
      header.writeUInt32LE(section.link, 40)
      header.writeUInt32LE(section.info, 44)
      header.writeBigUInt64LE(1n, 48)
      header.writeBigUInt64LE(BigInt(section.entry), 56)
      return header
    }),
  )
  const header = Buffer.alloc(headerBytes)
  // 64 bits, little end first; executable; x86_64.
  header.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1])
  header.writeUInt16LE(2, 16)
  header.writeUInt16LE(62, 18)
  header.writeUInt32LE(1, 20)
  header.writeBigUInt64LE(BigInt(titlesAt + titleTable.length), 40)
  header.writeUInt16LE(headerBytes, 52)
  header.writeUInt16LE(sectionBytes, 58)
  header.writeUInt16LE(sections.length, 60)
  header.writeUInt16LE(4, 62)
  return Buffer.concat([header, ...contents, headers])
}

function least(values: readonly bigint[]): bigint {
  return values.reduce((low, value) => (value < low ? value : low), values[0] ?? 0n)
}

function most(values: readonly bigint[]): bigint {
  return values.reduce((high, value) => (value > high ? value : high), 0n)
}
