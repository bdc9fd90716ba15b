/** Backups of an app on a server, asked for from elsewhere: they are made, listed, proved and brought back there. */
import assert from 'node:assert/strict'
import { existsSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { ask, type Result } from './command-line.ts'
import { readNumbers, useLedger } from './ledger-app.ts'
import { needsFile } from './needs.ts'
import { needsSshServer, SshServer } from './ssh-server.ts'

const skip = needsSshServer() || needsFile('/usr/bin/restic', 'apt-get install restic')

test('backups of an app on a server', { skip, timeout: 20 * 60_000 }, async () => {
  await using box = await SshServer.start()
  const stead = async (...words: readonly string[]): Promise<Result> => {
    const result = await box.client.stead(...words)
    assert.equal(result.code, 0, `${words.join(' ')}: ${result.stdout}${result.stderr}`)
    return result
  }
  const place = join(box.dir, 'backups')
  useLedger(box.client)
  const deployed = await box.deploy()
  assert.equal(deployed.code, 0, deployed.stderr)
  const kept = await ask(box.httpPort, '/1', { method: 'POST', host: 'ledger.localhost' })
  assert.equal(kept.status, 201, kept.body)

  const wrong = await box.client.stead('backup', 'ssh://box/ledger', '--to', 'nowhere')
  assert.equal(wrong.code, 1)
  assert.match(wrong.stderr, /neither an absolute path nor/)
  const good = await stead('backup', 'ssh://box/ledger', '--to', place, '--name', 'afar')
  assert.match(good.stderr, /A key was made for the backups of this machine/)
  assert.ok(existsSync(join(place, 'config')))
  const blank = await box.client.stead('backup', 'ssh://box/ledger', '--to', place, '--name', 'from afar')
  assert.match(blank.stderr, /"from afar" cannot name a backup/, 'a blank is no end of a word there')
  const key = await stead('backup', 'key', 'ssh://box')
  assert.match(key.stdout, /^(?:[0-9a-z]{4}-){8}[0-9a-z]{4}\n$/)
  const list = await stead('backup', 'ls', 'ssh://box/ledger', '--from', place, '--json')
  const { backups } = JSON.parse(list.stdout) as { backups: readonly { id: string; name: string }[] }
  assert.deepEqual(
    backups.map(({ name }) => name),
    ['afar'],
  )
  await stead('restore', 'ssh://box/ledger', '--from', place, '--name', 'back')
  const back = await stead('rollback', '--checkpoint', 'back', '--app', 'ssh://box/ledger')
  assert.equal(back.code, 0)
  assert.deepEqual(await readNumbers(box.httpPort), [1])
  await stead('backup', 'rm', 'ssh://box', backups[0]?.id ?? '', '--from', place)
  rmSync(place, { recursive: true, force: true })
  const gone = await box.client.stead('backup', 'ls', 'ssh://box/ledger', '--from', place)
  assert.deepEqual([gone.code, /was not prepared/.test(gone.stderr)], [1, true], gone.stderr)
})
