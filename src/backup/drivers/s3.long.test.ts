/** The conformance suite on a bucket of a real S3 server, and what is special about a target that is a server. */
import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, suite, test } from 'node:test'
import { needsAll, needsFile } from '../../../test/needs.ts'
import { type S3Server, needsS3Server, startS3Server } from '../../../test/s3-server.ts'
import { seededRandom, systemClock, systemRandom } from '../../base/index.ts'
import type { BackupOf } from '../backups.ts'
import { backupConformance } from '../conformance.ts'
import { type Target, parseTarget } from '../target.ts'
import { writeKey } from './key-file.ts'
import { openBackups } from './restic.ts'

const skip = needsAll(needsFile('/usr/bin/restic', 'apt-get install restic'), needsS3Server())

function targetOf(server: S3Server, dir: string, secret = server.secretAccessKey): Target {
  const credentialsFile = join(dir, 'credentials')
  const lines = ['[default]', `aws_access_key_id = ${server.accessKeyId}`, `aws_secret_access_key=${secret}`]
  writeFileSync(credentialsFile, lines.join('\n'), { mode: 0o600 })
  return parseTarget(`s3:${server.endpoint}/${server.bucket}/shop`, { credentialsFile })
}

backupConformance({
  name: 's3',
  skip,
  async open() {
    const dir = mkdtempSync(join(tmpdir(), 'stead-backup-s3-'))
    const server = await startS3Server(join(dir, 'objects'))
    return {
      target: targetOf(server, dir),
      async close() {
        await server[Symbol.asyncDispose]()
        rmSync(dir, { recursive: true, force: true })
      },
    }
  },
})

suite('backups at a server', { skip }, () => {
  const work = mkdtempSync(join(tmpdir(), 'stead-backup-server-'))
  const keyFile = join(work, 'key')
  const of: BackupOf = { app: 'shop', name: 'n', checkpoint: 'c', generation: 1, release: null, atMs: 1000 }
  after(() => rmSync(work, { recursive: true, force: true }))

  test('one that refuses, one that ends in the middle, one that is not there', async () => {
    await writeKey(keyFile, systemRandom)
    const server = await startS3Server(join(work, 'objects'))
    try {
      const common = { keyFile, clock: systemClock, random: systemRandom, stallMsMax: 2000 }
      const refused = await openBackups({ ...common, target: targetOf(server, work, 'wrong') })
      await assert.rejects(refused.list(), { code: 'backup.target-refused' })
      const target = targetOf(server, work)
      const slow = join(work, 'slow')
      writeFileSync(slow, '#!/bin/sh\nexec /usr/bin/restic --limit-upload 4000 "$@"\n', { mode: 0o755 })
      const backups = await openBackups({ ...common, target, program: slow })
      await backups.init()
      const tree = join(work, 'tree')
      mkdirSync(tree)
      writeFileSync(join(tree, 'noise'), seededRandom(4).bytes(24_000_000))
      let ended: Promise<void> | undefined
      const onProgress = ({ doneBytes }: { readonly doneBytes: number }): void => {
        if (doneBytes > 4_000_000) ended ??= server.kill()
      }
      await assert.rejects(backups.backUp(tree, of, { onProgress }), { code: 'backup.target-gone', retry: 'later' })
      await ended
      await assert.rejects(backups.list(), { code: 'backup.target-gone' })
    } finally {
      await server.kill()
    }
  })

  test('without keys for it nothing is tried', async () => {
    const empty = join(work, 'empty')
    writeFileSync(empty, '# nothing\n', { mode: 0o600 })
    const target = parseTarget('s3:https://127.0.0.1:1/bucket', { credentialsFile: empty })
    const backups = await openBackups({ target, keyFile, clock: systemClock, random: systemRandom })
    await assert.rejects(backups.list(), { code: 'backup.no-credentials' })
  })
})
