/** Looking into kernels: of a part that has one of its own by gdb, of a machine by traces that stop nothing. */
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import { messageOf, SteadError } from '../base/index.ts'
import { endingAfter, findOnPath, kernelTraces, missingForTrace, openTrace } from '../debug/index.ts'
import type { MachineWay, RemoteStream, TraceWish } from '../protocol/index.ts'
import { untilInterrupted } from './debugging.ts'
import { exitCodes } from './exit-codes.ts'
import { openLasting, type Where } from './lasting.ts'
import { needTarget, type Target } from './target.ts'
import { note, paint, print, table } from './terminal.ts'

const fileBytesMax = 64 * 1024 * 1024

/** Says which traces there are, and what is missing for them on this machine. */
export function listTraces(json: boolean): number {
  const traces = kernelTraces.map(({ name, summary, cost, program, needs }) => ({
    name,
    summary,
    cost,
    program,
    missing: missingForTrace(needs)?.reason ?? null,
  }))
  if (json) print(JSON.stringify(traces))
  else {
    const head = ['TRACE', 'SHOWS', 'COSTS'].map((word) => paint('dim', word))
    print(table([head, ...traces.map(({ name, summary, cost }) => [name, summary, cost])]))
    const missing = new Set(traces.flatMap((one) => one.missing ?? []))
    for (const reason of missing) note(`On this machine: ${reason}.`)
    note('stead debug --kernel --trace TRACE runs one; nothing stops for it.')
  }
  return exitCodes.ok
}

export interface TraceRequest {
  readonly wish: TraceWish
  readonly durationMs: number
  /** Null: the only one. */
  readonly node: string | null
}

/** Runs a trace on a node of the platform; on this machine where there is none. Throws `debug.refused`, naming what is missing. */
export async function runTrace(target: Target | null, { wish, durationMs, node }: TraceRequest): Promise<number> {
  const interrupted = untilInterrupted()
  if (target === null) return await traceHere(wish, durationMs, interrupted)
  const stream = await target.operator.trace({ kind: 'trace', node, trace: wish, durationMs })
  interrupted.addEventListener('abort', () => stream.end(), { once: true })
  for await (const { to, bytes } of stream.pieces) (to === 'out' ? process.stdout : process.stderr).write(bytes)
  const { code } = await stream.ended
  return code === 0 ? exitCodes.ok : exitCodes.failed
}

async function traceHere(wish: TraceWish, durationMs: number, interrupted: AbortSignal): Promise<number> {
  const known = wish.kind === 'reviewed' ? kernelTraces.find(({ name }) => name === wish.name) : null
  if (known === undefined) throw noSuchTrace(wish.kind === 'reviewed' ? wish.name : '')
  const program = wish.kind === 'own' ? wish.program : (known?.program ?? '')
  const traced = openTrace(endingAfter(program, durationMs), known?.needs ?? [])
  interrupted.addEventListener('abort', () => traced.end(), { once: true })
  const to = (from: Readable, sink: NodeJS.WriteStream): void => void from.pipe(sink, { end: false })
  to(traced.output, process.stdout)
  to(traced.errors, process.stderr)
  return (await traced.ended) === 0 ? exitCodes.ok : exitCodes.failed
}

/** For a trace that Stead does not bring. */
export function noSuchTrace(name: string): SteadError {
  return new SteadError({
    code: 'cli.unknown-trace',
    message: `there is no trace called ${name}`,
    hint: `There are: ${kernelTraces.map((one) => one.name).join(', ')}. With the right to it, --bpftrace runs a program of your own.`,
  })
}

/** A part of the app that a word names; null: the one here. Throws as `needTarget` does. */
export async function whereOf(word: string | null, part: string): Promise<Where> {
  return { target: await needTarget(word), word, part }
}

/** What gdb is given of a kernel: files by their paths. */
interface KernelFiles {
  readonly symbols: string
  readonly commands: string
}

/**
 * The stub of the kernel that a part has for itself, behind a port for gdb, with its symbols; those of a system of its own are
 * known to nobody here. Answers when somebody has had enough.
 */
export async function debugKernel(where: Where, json: boolean): Promise<number> {
  const { target, part } = where
  const interrupted = untilInterrupted()
  const open = (what: Exclude<MachineWay, 'debugger'>): Promise<RemoteStream> =>
    target.operator.open(target.app, part, { kind: 'machine', what })
  const dir = mkdtempSync(join(tmpdir(), 'stead-kernel-'))
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    sockets.add(socket)
    socket.on('error', () => {})
    socket.once('close', () => sockets.delete(socket))
    void openLasting(where, { kind: 'machine', what: 'debugger' })
      .then((stream) => carryGdb(socket, stream))
      .catch((error: unknown) => note(`gdb was cut off: ${messageOf(error)}`))
      .finally(() => socket.destroy())
  })
  const filesIn = async (): Promise<KernelFiles> => {
    const files = { symbols: join(dir, 'kernel'), commands: join(dir, 'commands') }
    writeFileSync(files.symbols, await contentOf(await open('symbols')))
    writeFileSync(files.commands, await contentOf(await open('commands')))
    return files
  }
  try {
    const { parts } = await target.operator.status(target.app)
    const isSystem = parts.some((one) => one.part === part && one.disk !== undefined)
    const files = isSystem ? null : await filesIn()
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    const bound = server.address()
    const port = typeof bound === 'object' && bound !== null ? bound.port : 0
    const way = `-ex 'target remote 127.0.0.1:${port}'`
    const gdb = files === null ? `gdb ${way}` : `gdb -x ${files.commands} ${way} ${files.symbols}`
    print(json ? JSON.stringify({ host: '127.0.0.1', port, ...(files ?? { symbols: null, commands: null }) }) : gdb)
    if (findOnPath('gdb') === null) note('There is no gdb on this machine: `apt-get install gdb`.')
    const known =
      files === null
        ? 'Its symbols are in the file of its kernel, which gdb takes as its last word.'
        : '`tasks` lists the tasks of the kernel.'
    note(`${known} While gdb stands, so does the part. Ctrl-C here ends it.`)
    await new Promise<void>((resolve) => interrupted.addEventListener('abort', () => resolve(), { once: true }))
    return exitCodes.ok
  } finally {
    server.close()
    for (const socket of sockets) socket.destroy()
    rmSync(dir, { recursive: true, force: true })
  }
}

/** Carries what gdb and the kernel say to one another, until either has gone. */
async function carryGdb(socket: Socket, stream: RemoteStream): Promise<void> {
  const close = (): void => stream.close()
  socket.once('close', close)
  if (socket.destroyed) return close()
  socket.on('data', (chunk: Buffer) => void stream.write(chunk))
  for await (const { bytes } of stream.pieces) socket.write(bytes)
  // A refusal is said at the end; to be cut off by gdb's own goodbye is none.
  if (!socket.destroyed) await stream.ended
}

/** All that a stream says. Throws `cli.too-much`, and what it was refused with. */
export async function contentOf(stream: RemoteStream): Promise<Buffer> {
  const pieces: Uint8Array[] = []
  let length = 0
  for await (const { bytes } of stream.pieces) {
    pieces.push(bytes)
    length += bytes.length
    if (length > fileBytesMax)
      throw new SteadError({
        code: 'cli.too-much',
        message: `more than ${fileBytesMax} bytes came of a machine`,
      })
  }
  // A refusal is said at the end.
  await stream.ended
  return Buffer.concat(pieces)
}
