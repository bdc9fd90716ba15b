/** Looks at the files that a system is booted from before anything is done with them. */
import { closeSync, constants, fstatSync, openSync, readSync } from 'node:fs'
import { messageOf, SteadError } from '../../../base/index.ts'
import { type DiskFormat, diskOf, headBytes, problemOfKernel } from '../../disk.ts'

/** The format of a disk. Throws `sandbox.bad-disk`, with what is wrong with it. */
export function readDisk(path: string, hasKernel: boolean): DiskFormat {
  const { head, sizeBytes } = headOf(path, 'disk')
  const found = diskOf(head, sizeBytes, hasKernel)
  if ('format' in found) return found.format
  throw badFile('disk', path, found.problem)
}

/** Throws `sandbox.bad-disk` where a file is no kernel for x86_64. */
export function checkKernel(path: string): void {
  const problem = problemOfKernel(headOf(path, 'kernel').head)
  if (problem !== null) throw badFile('kernel', path, problem)
}

function headOf(path: string, what: string): { readonly head: Buffer; readonly sizeBytes: number } {
  let file: number
  try {
    // What is no file must not hold anybody up.
    file = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK)
  } catch (error) {
    throw badFile(what, path, `it cannot be read: ${messageOf(error)}`)
  }
  try {
    const found = fstatSync(file)
    if (!found.isFile()) throw badFile(what, path, 'it is no file')
    const head = Buffer.alloc(headBytes)
    return { head: head.subarray(0, readSync(file, head, 0, headBytes, 0)), sizeBytes: found.size }
  } finally {
    closeSync(file)
  }
}

function badFile(what: string, path: string, problem: string): SteadError {
  return new SteadError({
    code: 'sandbox.bad-disk',
    message: `No system can be booted from the ${what} ${path}: ${problem}.`,
    hint: 'A disk is a raw or qcow2 image of a system for x86_64.',
  })
}
