/** What editors are told, and how it is put into their file. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { emacsConfiguration, mergedLaunchFile, neovimConfiguration, vscodeConfiguration } from './launch.ts'

const target = { name: 'process 7', language: 'node', port: 4711, roots: { local: "/home/o'neil", remote: '/app' } }

test('VS Code connects to the port', () => {
  assert.deepEqual(vscodeConfiguration(target), {
    type: 'node',
    request: 'attach',
    name: 'stead: process 7',
    debugServer: 4711,
    localRoot: "/home/o'neil",
    remoteRoot: '/app',
  })
})

test('Neovim gets a line of Lua whose texts are quoted', () => {
  assert.match(neovimConfiguration(target), /localRoot = '\/home\/o\\'neil'/)
})

test('Emacs gets a form whose texts are quoted', () => {
  const quoted = { ...target, name: 'a "b"' }
  assert.match(emacsConfiguration(quoted), /:name "stead: a \\"b\\"" :host "127\.0\.0\.1" :debugServer 4711 :localRoot/)
})

test('a configuration replaces the one of its name, and nothing else', () => {
  const configuration = vscodeConfiguration(target)
  const old = {
    version: '0.2.0',
    mine: 1,
    configurations: [{ name: 'other' }, { name: 'stead: process 7', debugServer: 1 }],
  }
  const merged = JSON.parse(mergedLaunchFile(JSON.stringify(old), configuration) ?? '')
  assert.deepEqual(merged, { ...old, configurations: [{ name: 'other' }, configuration] })
  assert.deepEqual(JSON.parse(mergedLaunchFile(null, configuration) ?? '').configurations, [configuration])
  assert.equal(mergedLaunchFile('{ // mine\n}', configuration), null)
})
