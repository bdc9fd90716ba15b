/** Streams to sockets in other people's directories: to their own, and to nothing that a link leads to. */
import assert from 'node:assert/strict'
import { chownSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { needsAll, needsRoot } from '../../../test/needs.ts'
import { connectUnix } from './unix-socket.ts'

/** What a stream says, or the code it fails with. */
function heard(path: string): Promise<string> {
  return new Promise((resolve) => {
    const socket = connectUnix(path)
    socket.on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message))
    socket.on('data', (data) => resolve(String(data)))
  })
}

test(
  'a socket of its directory is reached; a link, a file and nothing are not',
  { skip: needsAll(needsRoot()) },
  async () => {
    const dir = mkdtempSync(join(tmpdir(), 'stead-unix-'))
    const server = createServer((socket) => socket.end('the owner'))
    try {
      const own = join(dir, 'own.sock')
      await new Promise<void>((resolve) => server.listen(own, resolve))
      assert.equal(await heard(own), 'the owner')
      const theirs = join(dir, 'theirs')
      mkdirSync(theirs)
      chownSync(theirs, 1_900_000_001, 1_900_000_001)
      symlinkSync(own, join(theirs, 'link.sock'))
      assert.equal(await heard(join(theirs, 'link.sock')), 'network.not-a-socket')
      writeFileSync(join(dir, 'file.sock'), '')
      assert.equal(await heard(join(dir, 'file.sock')), 'network.not-a-socket')
      assert.equal(await heard(join(dir, 'none.sock')), 'ENOENT')
      // A socket of somebody else, hard-linked or bound by another user, is not theirs either.
      const foreign = createServer((socket) => socket.end('another'))
      await new Promise<void>((resolve) => foreign.listen(join(theirs, 'foreign.sock'), resolve))
      assert.equal(await heard(join(theirs, 'foreign.sock')), 'network.not-a-socket')
      await new Promise((resolve) => foreign.close(resolve))
    } finally {
      await new Promise((resolve) => server.close(resolve))
      rmSync(dir, { recursive: true })
    }
  },
)
