/**
 * What a program's file says about itself: for which machine it was made, with what, and whether its lines are known. Pure: the
 * bytes are read by whoever asks.
 *
 * Invariant: a file may say anything; no number in it makes us read more than the limits.
 */

/** Answers that many bytes from there, or fewer where the file ends. */
export type ReadAt = (offset: number, length: number) => Buffer

export interface Elf {
  /** The kernel's number of the processor: 62 is x86-64, 183 ARM64. */
  readonly machine: number
  readonly bits: 32 | 64
  /** Of each section its bytes, at most `sectionBytesMax` of them, and where it begins in the file. */
  readonly sections: ReadonlyMap<
    string,
    { readonly bytes: () => Buffer; readonly size: number; readonly offset: number }
  >
}

const sectionsMax = 4096
const namesBytesMax = 1_000_000
const sectionBytesMax = 65_536

/** Null for what is no ELF file of a usual kind. */
export function readElf(read: ReadAt): Elf | null {
  const head = read(0, 64)
  if (head.length < 52 || head.readUInt32BE(0) !== 0x7f454c46) return null
  const bits = head[4] === 2 ? 64 : 32
  // Machines that store the highest byte first are not looked into.
  if (head[5] !== 1) return { machine: head.readUInt16BE(18), bits, sections: new Map() }
  const machine = head.readUInt16LE(18)
  const wide = bits === 64
  if (wide && head.length < 64) return null
  const at = wide ? Number(head.readBigUInt64LE(40)) : head.readUInt32LE(32)
  const [entryBytes, count, namesIndex] = [58, 60, 62].map((offset) => head.readUInt16LE(wide ? offset : offset - 12))
  if (entryBytes === undefined || count === undefined || namesIndex === undefined) return null
  const table = read(at, Math.min(count, sectionsMax) * entryBytes)
  const rows = Array.from({ length: Math.floor(table.length / (entryBytes || 1)) }, (_, index) => {
    const row = table.subarray(index * entryBytes)
    const name = row.readUInt32LE(0)
    return wide
      ? { name, offset: Number(row.readBigUInt64LE(24)), size: Number(row.readBigUInt64LE(32)) }
      : { name, offset: row.readUInt32LE(16), size: row.readUInt32LE(20) }
  })
  const namesRow = rows[namesIndex]
  const names = namesRow === undefined ? Buffer.alloc(0) : read(namesRow.offset, Math.min(namesRow.size, namesBytesMax))
  const sections = rows.map(({ name, offset, size }) => {
    const end = names.indexOf(0, name)
    const bytes = (): Buffer => read(offset, Math.min(size, sectionBytesMax))
    return [names.subarray(name, end === -1 ? undefined : end).toString('latin1'), { bytes, size, offset }] as const
  })
  return { machine, bits, sections: new Map(sections) }
}

/** The compiler that made it, as in `GCC: (Debian 12.2.0-14) 12.2.0`; null when it does not say. */
export function compilerOf({ sections }: Elf): string | null {
  const said = sections.get('.comment')?.bytes().toString('latin1').split('\0').filter(Boolean)
  return said?.find((text) => text.startsWith('rustc')) ?? said?.[0] ?? null
}

/** The version of Go, without the letters, that built it; null for what is no Go. */
export function goVersionOf({ sections }: Elf): string | null {
  const info = sections.get('.go.buildinfo')?.bytes()
  if (info === undefined || info.length < 33) return null
  // Since Go 1.18 the text stands there itself, after its length.
  const written = ((info[15] ?? 0) & 2) !== 0
  const text = written ? info.subarray(33, 33 + (info[32] ?? 0)).toString('latin1') : ''
  return /go(\d[\w.]*)/.exec(text)?.[1] ?? 'unknown'
}

/** Identifies the build, in hexadecimal; null when it has none. */
export function buildIdOf({ sections }: Elf): string | null {
  const note = sections.get('.note.gnu.build-id')?.bytes()
  if (note === undefined || note.length < 17) return null
  const id = note.subarray(16, 16 + note.readUInt32LE(4))
  return id.length > 2 ? id.toString('hex') : null
}

/** What is known of functions and lines. */
export function symbolsOf({ sections }: Elf): 'lines' | 'functions' | 'none' {
  if (sections.has('.debug_info') || sections.has('.zdebug_info')) return 'lines'
  return sections.has('.symtab') || sections.has('.gopclntab') ? 'functions' : 'none'
}

/** The name of a processor, for a sentence. */
export function machineName(machine: number): string {
  return machineNames.get(machine) ?? `processor ${machine}`
}

const machineNames = new Map([
  [3, 'i386'],
  [21, 'ppc64'],
  [22, 's390x'],
  [40, 'arm'],
  [62, 'x86-64'],
  [183, 'arm64'],
  [243, 'riscv'],
])

/** The kernel's number of the processor that Node names so. */
export function machineOf(arch: string): number | null {
  return { x64: 62, arm64: 183, ia32: 3, arm: 40, ppc64: 21, s390x: 22, riscv64: 243 }[arch] ?? null
}
