/** The texts of /proc, as kernels write them. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isExiting, isLoopback, stateAndStart, statusField, tcpRows } from './facts.ts'

test('reads a name that holds spaces and parentheses', () => {
  const stat = `42 (a) (b c) S 1 42 42 0 -1 4194560 1 0 0 0 1 2 3 4 20 0 1 0 987654 1 2`
  assert.deepEqual(stateAndStart(stat), { state: 'S', start: '987654' })
  assert.equal(stateAndStart(''), null)
})

test('knows a process that is ending: its sockets may be closed before it is gone', () => {
  const line = (state: string, flags: number): string => `42 (a b) ${state} 1 42 42 0 -1 ${flags} 1 0`
  assert.deepEqual([line('S', 0x400000), line('R', 0x400004), line('Z', 0x40010c), line('X', 0)].map(isExiting), [
    false,
    true,
    true,
    true,
  ])
})

test('reads fields of a status', () => {
  const status = 'Name:\tnode\nNSpid:\t300\t2\nSigCgt:\t0000000188004202\n'
  assert.equal(statusField(status, 'NSpid'), '300\t2')
  assert.equal(statusField(status, 'SigCgt'), '0000000188004202')
  assert.equal(statusField(status, 'Missing'), '')
})

test('reads rows of sockets', () => {
  const text = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:240D 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 123456 1 0 100 0 0 10 0
`
  const [row] = tcpRows(text)
  assert.deepEqual(row, {
    localAddress: '0100007F',
    localPort: 9229,
    remoteAddress: '00000000',
    remotePort: 0,
    listening: true,
    uid: 1000,
    inode: 123456,
  })
  assert.ok(isLoopback(row.localAddress))
})
