/**
 * Fetches what guests and containers of a server need and this machine does not have: QEMU, a kernel, User-mode Linux and an
 * Incus server (LXD) from Debian's packages, unpacked into folders. Nothing is installed.
 */
import { existsSync, chmodSync, mkdirSync, renameSync } from 'node:fs'
import { dirname } from 'node:path'
import { incusPackages, incusPlace } from '../test/incus-server.ts'
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

if (existsSync(incusPlace)) process.stdout.write(`incus: ${incusPlace} is there\n`)
else {
  fetchDebian(incusPackages, incusPlace)
  process.stdout.write(`incus: fetched ${incusPackages.join(', ')} to ${incusPlace}\n`)
}
