/**
 * Fetches what guests need and this machine does not have: QEMU, a kernel and User-mode Linux from Debian's packages, unpacked
 * into a folder. Nothing is installed.
 */
import { existsSync, chmodSync, mkdirSync, renameSync } from 'node:fs'
import { dirname } from 'node:path'
import { machinePackages, machineParts } from '../test/machine-parts.ts'
import { cached, run } from '../test/fetch.ts'
import { fetchDebian } from './object-fetch.ts'

const { place } = machineParts
if (existsSync(place)) process.stdout.write(`machines: ${place} is there\n`)
else {
  mkdirSync(dirname(place), { recursive: true, mode: 0o755 })
  const beside = `${place}.new`
  const unpacked = cached('machines-unpacked')
  fetchDebian(machinePackages, unpacked)
  // It may be another file system.
  run('/', 'mv', unpacked, beside)
  chmodSync(beside, 0o755)
  renameSync(beside, place)
  process.stdout.write(`machines: fetched ${machinePackages.join(', ')} to ${place}\n`)
}
