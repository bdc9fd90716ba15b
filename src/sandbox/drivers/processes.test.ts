/** The table of processes: /proc and `ps` tell the same, identities tell a reused id, trees are whole. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { test } from 'node:test'
import { needsAll, needsFile } from '../../../test/needs.ts'
import { isAlive, linuxProcesses, posixProcesses, signalProcess, treeOf } from './processes.ts'

const skip = needsAll(
  needsFile('/proc/self/stat', 'this is not Linux'),
  needsFile('/usr/bin/ps', 'apt-get install procps'),
)

for (const [name, table] of Object.entries({ linux: linuxProcesses, posix: posixProcesses })) {
  test(`${name}: finds a child, its identity, and that it is gone`, { skip }, async () => {
    const child = spawn('/bin/sh', ['-c', 'sleep 60 & wait'], { stdio: ['ignore', 'ignore', 'ignore'], detached: true })
    const pid = child.pid ?? 0
    const identity = table.identify(pid)
    assert.ok(identity !== null && identity.start !== '')
    let tree = treeOf(pid, table.list())
    for (let round = 0; round < 200 && tree.length < 2; round++) tree = treeOf(pid, table.list())
    assert.deepEqual(
      tree.map((process) => process.session),
      [pid, pid],
      'the shell and its child, in their session',
    )
    assert.deepEqual(
      tree.map((process) => process.start !== ''),
      [true, true],
    )
    assert.ok((tree[0]?.memoryBytes ?? 0) > 0 && tree.every((process) => process.cpuSeconds >= 0))
    process.kill(-pid, 'SIGKILL')
    await once(child, 'exit')
    assert.equal(table.identify(pid), null)
  })
}

test('an id that belongs to another process by now is not touched', { skip }, () => {
  const stranger = { pid: process.pid, start: 'another start' }
  assert.ok(!isAlive(stranger))
  signalProcess(stranger, 'SIGKILL')
  assert.ok(isAlive(linuxProcesses.identify(process.pid)))
})
