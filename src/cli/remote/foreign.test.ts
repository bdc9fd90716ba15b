/** Code for one kind of machine is found in a bundle by what it is, not by what it is called. */
import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { createBundleStore } from '../../artifact/index.ts'
import { systemClock } from '../../base/index.ts'
import { machineCode, refuseMachineCode } from './foreign.ts'

test('programs and libraries are named, scripts and data are not', async (context) => {
  const dir = mkdtempSync(join(tmpdir(), 'foreign-'))
  context.after(() => rmSync(dir, { recursive: true, force: true }))
  const from = join(dir, 'app')
  mkdirSync(join(from, 'node_modules', 'fast'), { recursive: true })
  const write = (name: string, head: string, mode = 0o644): void =>
    writeFileSync(join(from, name), Buffer.concat([Buffer.from(head, 'hex'), Buffer.from('rest')]), { mode })
  write('node_modules/fast/fast.node', '7f454c46')
  write('node_modules/fast/libfast.so.1.2', '7f454c46')
  write('tool', 'cffaedfe', 0o755)
  write('tool.exe', '4d5a9000', 0o755)
  write('script', Buffer.from('#!/bin/sh').toString('hex'), 0o755)
  write('picture', '7f454c46')
  write('notes.so', Buffer.from('text').toString('hex'))
  const store = await createBundleStore({ root: join(dir, 'store'), clock: systemClock })
  const bundle = await store.make({ from, runtime: null })
  const expected = ['node_modules/fast/fast.node', 'node_modules/fast/libfast.so.1.2', 'tool', 'tool.exe']
  assert.deepEqual(await machineCode(bundle), expected)
  await assert.rejects(refuseMachineCode(new Map([['web', bundle]]), 'linux arm64'), {
    code: 'cli.foreign-code',
    message: /^web holds code for .*, and the server is linux arm64: node_modules\/fast\/fast\.node, .*, and 1 more$/,
  })
})
