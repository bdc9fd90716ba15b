/** `stead vm`: the machine of a part that runs on a kernel of its own: its console, and a debugger for its kernel. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { once } from 'node:events'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { SteadError } from '../../base/index.ts'
import type { MachineWay, RemoteStream } from '../../protocol/index.ts'
import { carry } from '../carrying.ts'
import { type Command, helpOf, usage } from '../command.ts'
import { untilInterrupted } from '../debugging.ts'
import { exitCodes } from '../exit-codes.ts'
import { needTarget, type Target } from '../target.ts'
import { note, print } from '../terminal.ts'

/** Ctrl-] */
const leaveConsole = '\u001d'
const fileBytesMax = 64 * 1024 * 1024

export const vmCommand: Command = {
  name: 'vm',
  usage: 'console|debug PART [APP]',
  summary: 'the console and the debugger of a kernel that a part has for itself',
  help: `  console      what its kernel says; a line typed opens a shell of the guest's root. Ctrl-] leaves
  debug        a port on which gdb reaches the kernel, its symbols, and a command that lists its tasks
  --json       for debug, one JSON object with what it prints
  Parts have such a kernel when the app file says so: isolation: 'kernel'.
  Example: stead vm console web`,
  options: {},
  argumentsMax: 3,
  async run({ arguments: [verb, part, word = null], json }) {
    if (part === undefined || (verb !== 'console' && verb !== 'debug'))
      throw usage('stead vm needs console or debug, and the name of a part', helpOf(vmCommand))
    const target = await needTarget(word)
    return verb === 'console' ? await showConsole(target, part) : await debugKernel(target, part, json)
  },
}

async function showConsole({ operator, app }: Target, part: string): Promise<number> {
  const stream = await operator.open(app, part, { kind: 'machine', what: 'console' })
  note(`The console of ${part}. Enter opens a shell of its root, Ctrl-] leaves.`)
  await carry(stream, process.stdin.isTTY, leaveConsole)
  return exitCodes.ok
}

async function debugKernel({ operator, app }: Target, part: string, json: boolean): Promise<number> {
  const interrupted = untilInterrupted()
  const open = (what: MachineWay): Promise<RemoteStream> => operator.open(app, part, { kind: 'machine', what })
  const dir = mkdtempSync(join(tmpdir(), 'stead-kernel-'))
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    socket.on('error', () => {})
    void open('debugger')
      .then(async (stream) => {
        socket.on('data', (chunk: Buffer) => void stream.write(chunk))
        socket.on('close', () => stream.close())
        for await (const { bytes } of stream.pieces) socket.write(bytes)
      })
      .catch((error: unknown) => note(String(error)))
      .finally(() => socket.destroy())
  })
  try {
    const [symbols, commands] = [join(dir, 'kernel'), join(dir, 'commands')]
    writeFileSync(symbols, await contentOf(await open('symbols')))
    writeFileSync(commands, await contentOf(await open('commands')))
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    const bound = server.address()
    const port = typeof bound === 'object' && bound !== null ? bound.port : 0
    const gdb = `gdb -x ${commands} -ex 'target remote 127.0.0.1:${port}' ${symbols}`
    print(json ? JSON.stringify({ host: '127.0.0.1', port, symbols, commands }) : gdb)
    note('`tasks` lists the tasks of the kernel. While gdb stands, so does the part. Ctrl-C here ends it.')
    await new Promise<void>((resolve) => interrupted.addEventListener('abort', () => resolve(), { once: true }))
    return exitCodes.ok
  } finally {
    server.close()
    rmSync(dir, { recursive: true, force: true })
  }
}

async function contentOf(stream: RemoteStream): Promise<Buffer> {
  const pieces: Uint8Array[] = []
  let length = 0
  for await (const { bytes } of stream.pieces) {
    pieces.push(bytes)
    length += bytes.length
    if (length > fileBytesMax)
      throw new SteadError({
        code: 'cli.too-much',
        message: `the kernel has more than ${fileBytesMax} bytes of symbols`,
      })
  }
  return Buffer.concat(pieces)
}
