/** A breakpoint that is left in a program's code, put there as a debugger does. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, openSync, readFileSync, readSync, writeSync } from 'node:fs'
import { test } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import { sweepBreakpoints } from './sweep.ts'

const other = process.arch === 'x64' ? false : 'needs x86-64'

/** Where the program's code begins, in hexadecimal. For a moment after the start it is not there yet, and then its linker runs. */
async function codeOf(pid: number): Promise<string> {
  for (let left = 200; left > 0; left--) {
    const code = /^([0-9a-f]+)-[0-9a-f]+ r-xp .*sleep$/m.exec(readFileSync(`/proc/${pid}/maps`, 'utf8'))?.[1]
    const isAsleep = readFileSync(`/proc/${pid}/syscall`, 'utf8').startsWith('230 ')
    if (code !== undefined && isAsleep) return code
    await pause(25)
  }
  throw new Error('the program does not sleep')
}

test('a breakpoint that was left in the code is taken out, and nothing else is changed', { skip: other }, async () => {
  const child = spawn('/bin/sleep', ['60'], { stdio: 'ignore' })
  const gone = once(child, 'exit')
  const pid = child.pid ?? 0
  try {
    await once(child, 'spawn')
    const code = await codeOf(pid)
    assert.equal(sweepBreakpoints({ pid }), 0)
    const address = Number.parseInt(code, 16)
    const memory = openSync(`/proc/${pid}/mem`, 'r+')
    const byte = Buffer.alloc(1)
    try {
      readSync(memory, byte, 0, 1, address)
      const before = byte[0]
      writeSync(memory, Buffer.from([0xcc]), 0, 1, address)
      assert.equal(sweepBreakpoints({ pid }), 1)
      readSync(memory, byte, 0, 1, address)
      assert.equal(byte[0], before)
    } finally {
      closeSync(memory)
    }
    assert.equal(sweepBreakpoints({ pid }), 0)
    assert.equal(child.exitCode, null)
  } finally {
    child.kill('SIGKILL')
    await gone
  }
  assert.equal(sweepBreakpoints({ pid }), 0)
})
