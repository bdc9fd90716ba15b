/**
 * The process that becomes a program inside a sandbox that runs: told what to do by its supervisor, it puts on the
 * sandbox's group, the filter on system calls and no_new_privs, and is replaced by nsenter, which enters the namespaces and
 * starts the program. Runs in a process of its own, because none of this can be taken off again.
 *
 * Invariant: nothing that other programs of the sandbox could write into is ever without the filter: it is put on before the
 * namespaces are entered. It answers `setns` beside what the sandbox's own allows; without capabilities that gains nothing.
 */
import { closeSync, readFileSync, readSync, writeSync } from 'node:fs'

interface Order {
  readonly nsenter: string
  readonly argv: readonly string[]
  /** All of its environment: nothing of the sandbox's may reach a program that is not inside yet, LD_PRELOAD above all. */
  readonly env: Readonly<Record<string, string>>
  readonly gid: number
  /** Base 64 of struct sock_filter; null for none. */
  readonly filter: string | null
}

const gate = 3
const orders = 4
/** What the shell inside reads the program's environment from. */
const environment = 5
const setDescriptorFlags = 2
const setNoNewPrivs = 38
const setSeccomp = 22
const filterMode = 2n

const order = JSON.parse(readFileSync(orders, 'utf8')) as Order
writeSync(gate, 'ready\n')
const go = Buffer.alloc(3)
// Whoever waits to let it go may be gone: then this is the end of it.
if (readSync(gate, go) !== 3) process.exit(125)
for (const descriptor of [gate, orders]) closeSync(descriptor)

process.setgroups?.([])
process.setgid?.(order.gid)
const ffi = process.getBuiltinModule('node:ffi')
const { functions: c } = ffi.dlopen('libc.so.6', {
  prctl: { return: 'i32', arguments: ['i32', 'u64', 'u64', 'u64', 'u64'] },
  fcntl: { return: 'i32', arguments: ['i32', 'i32', 'i32'] },
})
// Node closes everything but the standard streams when it is replaced.
if (c.fcntl(environment, setDescriptorFlags, 0) !== 0) process.exit(125)
if (c.prctl(setNoNewPrivs, 1n, 0n, 0n, 0n) !== 0) process.exit(125)
if (order.filter !== null) {
  const code = Buffer.from(order.filter, 'base64')
  // struct sock_fprog: the number of instructions, and where they are.
  const program = Buffer.alloc(16)
  program.writeUInt16LE(code.length / 8, 0)
  program.writeBigUInt64LE(ffi.getRawPointer(code), 8)
  if (c.prctl(setSeccomp, filterMode, ffi.getRawPointer(program), 0n, 0n) !== 0) process.exit(125)
}
process.execve?.(order.nsenter, [...order.argv], { ...order.env })
