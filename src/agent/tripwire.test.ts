/** What the wires see, and what is kept and told of it: bounded, and nothing that a program could make up. */
import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { suite, test } from 'node:test'
import { ManualClock, seededRandom } from '../base/index.ts'
import type { Wire } from '../protocol/index.ts'
import { Incidents } from './incidents.ts'
import { readRecordLine } from './kernel-log.ts'
import { merged } from './merge.ts'
import { Notes } from './notes.ts'
import { refusedMax, setTripwire } from './tripwire.ts'

suite('tripwires of an instance', () => {
  test('each wire trips once: a decoy that is read or written, a search for addresses', () => {
    const dir = mkdtempSync(join(tmpdir(), 'st-'))
    try {
      const decoy = join(dir, 'decoy')
      writeFileSync(decoy, 'secret')
      const clock = new ManualClock()
      const trips: Wire[] = []
      let different = 0
      using _wires = setTripwire({ clock, decoy, different: () => different, onTrip: (wire) => void trips.push(wire) })
      different = refusedMax - 1
      clock.advance(60_300)
      different += refusedMax - 1
      clock.advance(10_000)
      assert.deepEqual(trips, [])
      different += 2
      clock.advance(1000)
      assert.deepEqual(trips, ['addresses'])
      utimesSync(decoy, 7, 7)
      clock.advance(1000)
      rmSync(decoy)
      clock.advance(1000)
      assert.deepEqual(trips, ['addresses', 'decoy'])
    } finally {
      rmSync(dir, { recursive: true })
    }
  })

  test("the kernel's record of an ended program is read; what looks like one is not", () => {
    const record = (comm: string, sig = 31): string =>
      `5,1818,2676609521,-;audit: type=1326 audit(1795969024.557:2): auid=4294967295 uid=1900000777 gid=1900000777 ses=4294967295 pid=31380 comm=${comm} exe="/usr/bin/python3.11" sig=${sig} arch=c000003e syscall=165 compat=0 ip=0x7f code=0x80000000`
    assert.deepEqual(readRecordLine(record('"python3"')), { hostUid: 1_900_000_777, pid: 31_380, call: 165 })
    assert.equal(readRecordLine(record('"python3"', 11)), null)
    assert.equal(readRecordLine('6,1,1,-;python: type=1326 uid=1 pid=2 sig=31 syscall=3'), null)
  })

  test('incidents are kept over a restart, bounded, and the frozen ones stay', () => {
    const root = mkdtempSync(join(tmpdir(), 'st-'))
    try {
      const clock = new ManualClock(1000)
      const random = seededRandom(3)
      const open = (): Incidents => new Incidents(root, clock, random)
      const of = { app: 'a', part: 'web', wire: 'decoy', what: 'it read', timeline: [] } as const
      const first = open().create({ ...of, instance: 'i0', state: 'frozen' })
      const incidents = open()
      for (let i = 1; i <= 110; i += 1) {
        clock.advance(1)
        incidents.create({ ...of, instance: `i${i}`, state: 'recorded' })
      }
      assert.equal(open().list('a').length, 100)
      assert.equal(open().list('b').length, 0)
      assert.equal(open().get(first.id)?.state, 'frozen')
      open().note(first.id, 'ended', 'ended')
      assert.deepEqual(
        open()
          .ofInstance('i0')
          ?.timeline.map(({ text }) => text),
        ['ended'],
      )
      mkdirSync(join(root, 'cut-short'))
      assert.equal(open().list('a').length, 100)
    } finally {
      rmSync(root, { recursive: true })
    }
  })

  test('notes are bounded in number and in time, and streams are merged as they come', async () => {
    const dir = mkdtempSync(join(tmpdir(), 'st-'))
    try {
      const clock = new ManualClock(5)
      const path = join(dir, 'notes.jsonl')
      const notes = new Notes(path, clock)
      const abort = new AbortController()
      const seen: string[] = []
      const following = (async () => {
        for await (const { text } of merged([notes.follow(abort.signal), notes.follow(abort.signal)])) seen.push(text)
      })()
      await new Promise((resolve) => setImmediate(resolve))
      for (let i = 0; i < 500; i += 1) notes.add(`n${i}`)
      assert.equal(notes.list().length, 20)
      assert.match(notes.list().at(-1)?.text ?? '', /more of the like/)
      while (seen.length < 40) await new Promise((resolve) => setImmediate(resolve))
      abort.abort()
      await following
      clock.advance(60_001)
      notes.add('later')
      assert.equal(new Notes(path, clock).list().at(-1)?.text, 'later')
      writeFileSync(path, readFileSync(path, 'utf8').slice(0, -5))
      assert.deepEqual(new Notes(path, clock).list(), [])
    } finally {
      rmSync(dir, { recursive: true })
    }
  })
})
