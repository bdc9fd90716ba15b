/**
 * QEMU and a kernel for guests of tests: the system's, or packages of Debian that were fetched once and unpacked into a folder
 * without being installed. Tests only look; `scripts/node scripts/machines.ts` fetches.
 */
import { existsSync, statSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { cached } from './fetch.ts'

/** The packages: emulator, a kernel that knows the file system of shared directories, and User-mode Linux. */
export const machinePackages: readonly string[] = [
  'qemu-system-x86',
  'qemu-utils',
  'linux-image-amd64',
  'user-mode-linux',
]
/** Where they are unpacked. Any user must be able to pass through, because QEMU runs as none that has a home. */
const places = ['/var/cache/stead-servers/machines-1', cached('machines-1')]
const qemu = 'usr/bin/qemu-system-x86_64'

/** Null: the system has them. */
export const machineParts: { readonly root: string | null; readonly place: string } = {
  root: places.find((place) => existsSync(`${place}/${qemu}`) && isOpen(place)) ?? null,
  place: isOpen(dirname(places[1] ?? '/')) ? (places[1] ?? '/') : (places[0] ?? '/'),
}

/** A disk with a system that boots by itself, its kernel and what that unpacks first beside it. `scripts/machine-disk.ts` makes them. */
export const machineDisk: { readonly place: string } = { place: join(dirname(machineParts.place), 'machine-disk-2') }

/** False, or why no system can be booted from a disk here. */
export function needsDisk(): string | false {
  if (existsSync(machineDisk.place)) return needsGuests()
  return needsGuests() || 'needs a disk: scripts/node scripts/machine-disk.ts'
}

/** False, or why there can be no guests here. */
export function needsGuests(): string | false {
  if (process.platform !== 'linux' || process.arch !== 'x64') return 'needs Linux of x86_64'
  if (process.getuid?.() !== 0) return 'needs root: run the tests as root to include it'
  if (machineParts.root !== null || existsSync(`/${qemu}`)) return false
  return 'needs QEMU and a kernel: scripts/node scripts/machines.ts'
}

/** Whether every user may pass through a directory and all above it. */
export function isOpen(path: string): boolean {
  if (path === '/') return true
  const found = statSync(path, { throwIfNoEntry: false })
  return (found === undefined || (found.mode & 0o001) !== 0) && isOpen(dirname(path))
}
