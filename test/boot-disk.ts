/**
 * A disk of one MiB whose boot sector is the whole system, in 146 bytes of 16-bit code: it counts its boots in the second sector,
 * says `boot N` and then the letters, one a fifth of a second, on the first serial line; when the power button is pressed it says
 * `bye` and switches the machine off.
 */

/** Enable the button; read the second sector, add one to its first byte, write it back; say both. Then letters, each followed by a look at the button. */
const code =
  '31c08ed88ec08ed0bc007cfcba0206b80001efb80102e85200fe06007eb80103e84800be877ce84e00a0007e0430e85100b00ae84c00b34188d8' +
  'e84500b00ae84000b486b9030031d2cd15ba0006edf6c4017509fec380fb5b75ddebd9be8d7ce81400ba0406b80020eff4bb007eb90200ba8000' +
  'cd13c3ac84c07405e80300ebf6c3baf803eec3626f6f7420006279650a00'

/** `label` stands where nobody reads it, so that two disks can differ. */
export function bootDisk(label = ''): Buffer {
  const disk = Buffer.alloc(1024 * 1024)
  Buffer.from(code, 'hex').copy(disk)
  disk.writeUInt16LE(0xaa55, 510)
  disk.write(label, 4096)
  return disk
}
