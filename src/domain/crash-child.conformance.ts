/**
 * The child process of the conformance suite's crash tests: works on a domain until its n-th step and dies there, as by
 * `kill -9`. A step is a call that changes the file system, or starts a program: just before each of them, the process may die.
 *
 * Arguments: module and name of a function that makes a DomainDriver, its options beside the clock as JSON, root, size, and
 * the number of the step to die at (0: never).
 * Prints a line for each change that was acknowledged.
 */
import childProcess from 'node:child_process'
import fs from 'node:fs/promises'
import { syncBuiltinESMExports } from 'node:module'
import { writeSync } from 'node:fs'
import { join } from 'node:path'
import { systemClock } from '../base/index.ts'
import type { DomainDriver } from './driver.ts'

const [module = '', name = '', options = '{}', root = '', sizeBytes = '', dieAt = ''] = process.argv.slice(2)
const progress = { steps: 0 }

function step(): void {
  progress.steps += 1
  if (progress.steps === Number(dieAt)) process.kill(process.pid, 'SIGKILL')
}

/** The same function, with a step before each call. */
function stepped<Args extends readonly unknown[], Result>(call: (...args: Args) => Result): (...args: Args) => Result {
  return (...args) => {
    step()
    return call(...args)
  }
}

Object.assign(fs, {
  open: stepped(fs.open),
  mkdir: stepped(fs.mkdir),
  rename: stepped(fs.rename),
  rm: stepped(fs.rm),
  writeFile: stepped(fs.writeFile),
  cp: stepped(fs.cp),
})
Object.assign(childProcess, { spawn: stepped(childProcess.spawn) })
syncBuiltinESMExports()

function acknowledge(what: string): void {
  writeSync(1, `${what}\n`)
}

const loaded = (await import(module)) as Readonly<Record<string, (options: object) => DomainDriver>>
const driver = loaded[name]?.({ clock: systemClock, ...(JSON.parse(options) as object) })
if (driver === undefined) throw new Error(`${module} has no export ${name}`)
const domain = await driver.open({ id: 'crash', root, home: 'here', sizeBytes: Number(sizeBytes) })
acknowledge('open')
await fs.writeFile(join(domain.path, 'marker'), 'live')
const { generation } = domain
await domain.checkpoint('checkpoint')
acknowledge('checkpoint')
const clone = await domain.clone('clone', 'checkpoint')
acknowledge('clone')
await fs.appendFile(join(clone.path, 'marker'), 'cloned')
await domain.swap('clone', 'before', generation)
acknowledge('swap')
await domain.delete('checkpoint')
acknowledge('delete')
await domain.close()
acknowledge(`close after ${progress.steps} steps`)
