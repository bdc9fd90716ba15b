/**
 * The suite that every kind of target passes: what `backups.ts` promises, with the real tool and a real place. For an S3
 * server of your own: hand it over, and see whether backups there are what they should be.
 */
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import {
  appendFileSync,
  chmodSync,
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, suite, test } from 'node:test'
import { isSteadError, seededRandom, systemClock, systemRandom } from '../base/index.ts'
import type { BackupOf, Backups } from './backups.ts'
import { writeKey } from './drivers/key-file.ts'
import { openBackups } from './drivers/restic.ts'
import type { Target } from './target.ts'

export interface TargetUnderTest {
  readonly name: string
  /** Why it cannot be tested here; false when it can. */
  readonly skip: string | false
  /** Makes an empty target of its own. */
  open(): Promise<{ readonly target: Target; close(): Promise<void> }>
}

const restic = '/usr/bin/restic'
const hourMs = 3_600_000

/** Registers the suite for one kind of target. */
export function backupConformance(under: TargetUnderTest): void {
  suite(`backups: ${under.name}`, { skip: under.skip }, () => {
    const work = mkdtempSync(join(tmpdir(), 'stead-backup-'))
    const keyFile = join(work, 'key')
    const tree = join(work, 'tree')
    const pidFile = join(work, 'pid')
    let place: { readonly target: Target; close(): Promise<void> } | undefined
    const open = (more: { readonly keyFile?: string; readonly program?: string } = {}): Promise<Backups> => {
      assert.ok(place)
      return openBackups({ target: place.target, keyFile, clock: systemClock, random: systemRandom, ...more })
    }
    const of = (name: string, atMs: number): BackupOf => ({
      app: 'shop',
      name,
      checkpoint: `before-${name}`,
      generation: 3,
      release: 7,
      atMs,
    })

    before(async () => {
      place = await under.open()
      await writeKey(keyFile, systemRandom)
      plant(tree)
      // The tool with its own process id written down, and slow enough to be caught in the middle.
      const script = `#!/bin/sh\necho $$ > ${pidFile}\nexec ${restic} --limit-upload 4000 "$@"\n`
      writeFileSync(join(work, 'slow'), script, { mode: 0o755 })
    })
    after(async () => {
      await place?.close()
      rmSync(work, { recursive: true, force: true })
    })

    test('a target that was not prepared is not taken for an empty one', async () => {
      const backups = await open()
      await assert.rejects(backups.list(), { code: 'backup.no-repository' })
      await assert.rejects(backups.backUp(tree, of('early', hourMs)), { code: 'backup.no-repository' })
    })

    test('preparing it twice changes nothing, and another key is told from the right one', async () => {
      const backups = await open()
      assert.equal(await backups.init(), 'made')
      assert.equal(await backups.init(), 'there')
      const other = join(work, 'other-key')
      await writeKey(other, systemRandom)
      const wrong = await open({ keyFile: other })
      await assert.rejects(wrong.init(), { code: 'backup.wrong-key' })
    })

    test('what is killed in the middle leaves nothing that is seen, and the next backup goes on', async () => {
      const slow = await open({ program: join(work, 'slow') })
      const big = join(work, 'big')
      mkdirSync(big)
      writeFileSync(join(big, 'noise'), seededRandom(5).bytes(24_000_000))
      let killed = false
      const kill = ({ doneBytes }: { readonly doneBytes: number }): void => {
        if (killed || doneBytes < 6_000_000) return
        killed = true
        process.kill(Number(readFileSync(pidFile, 'utf8')), 'SIGKILL')
      }
      await assert.rejects(slow.backUp(big, of('cut-off', hourMs), { onProgress: kill }), isSteadError)
      assert.ok(killed, 'it was over before it could be killed')
      const backups = await open()
      assert.deepEqual(await backups.list(), [])
      // The lock of the dead process is in nobody's way: this needs the target for itself.
      await backups.forget([])
      assert.deepEqual(await backups.verify('structure'), { problems: [] })
    })

    test('what is restored is what was backed up, and what travels with it too', async () => {
      const backups = await open()
      const extra = join(work, 'extra')
      mkdirSync(join(extra, 'bundles'), { recursive: true })
      writeFileSync(join(extra, 'graph.json'), '{"app":"shop"}')
      writeFileSync(join(extra, 'bundles/web'), 'code')
      const seen: number[] = []
      const made = await backups.backUp(tree, of('first', hourMs), { extra, onProgress: (p) => seen.push(p.doneBytes) })
      assert.ok(seen.length > 0, 'it told of no progress')
      assert.deepEqual(await backups.list(), [made])
      const { id, files, bytes, addedBytes, ...said } = made
      assert.deepEqual(said, { ...of('first', hourMs), extra: true, code: null })
      assert.ok(files >= 5 && bytes > 4_000_000 && addedBytes > 3_000_000)
      const [to, extraTo] = [join(work, 'restored'), join(work, 'restored-extra')]
      await backups.restore(id, to, { extraTo })
      assert.deepEqual(look(to), look(tree))
      assert.deepEqual(look(extraTo), look(extra))
    })

    test('a second backup takes what has changed, wherever the tree lies by then', async (t) => {
      const backups = await open()
      const first = (await backups.list()).at(-1)
      const later = join(work, 'later')
      plant(later)
      appendFileSync(join(later, 'data/secret'), 'one line more')
      const second = await backups.backUp(later, { ...of('second', 2 * hourMs), release: null })
      t.diagnostic(`${first?.addedBytes} bytes at first, ${second.addedBytes} after a change of 13 bytes`)
      assert.ok(second.addedBytes < 100_000, `the second backup took ${second.addedBytes} bytes`)
      assert.deepEqual(
        (await backups.list()).map(({ name, release, extra }) => [name, release, extra]),
        [
          ['first', 7, true],
          ['second', null, false],
        ],
      )
    })

    test('code is brought once, and a log takes the place of the one before it; both go with their backups', async () => {
      const backups = await open()
      let asked = 0
      const code = (id: string) => ({
        id,
        async layOut(dir: string) {
          asked += 1
          writeFileSync(join(dir, 'bundle'), `code ${id}`)
        },
      })
      const extra = join(work, 'extra')
      const one = await backups.backUp(tree, of('with-code', 3 * hourMs), { extra, code: code('a') })
      const two = await backups.backUp(tree, of('with-code', 4 * hourMs), { extra, code: code('a') })
      assert.equal(asked, 1)
      await backups.restoreCode(two.id, join(work, 'code'))
      assert.equal(readFileSync(join(work, 'code/bundle'), 'utf8'), 'code a')
      await backups.restoreExtra(two.id, join(work, 'only-extra'))
      assert.deepEqual(look(join(work, 'only-extra')), look(extra))

      const log = join(work, 'log')
      mkdirSync(join(log, 'open'), { recursive: true })
      const carry = async (after: string, files: number, atMs: number): Promise<void> => {
        writeFileSync(join(log, `0${files}`), `file ${files}`)
        writeFileSync(join(log, 'open', 'last'), `open at ${atMs}`)
        await backups.carryLog(log, { app: 'shop', part: 'db', after, position: `0/${files}`, atMs })
      }
      await carry(one.id, 1, 3.1 * hourMs)
      await carry(one.id, 2, 3.2 * hourMs)
      await carry(two.id, 3, 4.1 * hourMs)
      const logs = await backups.logs()
      assert.deepEqual(
        new Set(logs.map(({ after, position, atMs }) => `${after} ${position} ${atMs}`)),
        new Set([`${one.id} 0/2 ${3.2 * hourMs}`, `${two.id} 0/3 ${4.1 * hourMs}`]),
      )
      const ofOne = logs.find(({ after }) => after === one.id)
      await backups.restoreLog(ofOne?.id ?? '', join(work, 'restored-log'))
      assert.deepEqual(readdirSync(join(work, 'restored-log')).toSorted(), ['01', '02', 'open'])
      assert.equal(readFileSync(join(work, 'restored-log/open/last'), 'utf8'), `open at ${3.2 * hourMs}`)

      await backups.forget([one.id, two.id])
      assert.deepEqual(await backups.logs(), [])
      await assert.rejects(backups.restoreCode(two.id, join(work, 'gone')), { code: 'backup.unknown-backup' })
      assert.deepEqual(await backups.verify('data'), { problems: [] })
      assert.deepEqual(await backups.derive('a'), await (await open()).derive('a'))
      assert.notDeepEqual(await backups.derive('a'), await backups.derive('b'))
    })

    test('a restore that was cut off begins anew, and one into the place of something is refused', async () => {
      const backups = await open()
      const [first] = await backups.list()
      assert.ok(first)
      const to = join(work, 'cut-off')
      mkdirSync(join(to, 'half'), { recursive: true })
      await assert.rejects(backups.restore(first.id, to), { code: 'backup.not-empty' })
      assert.deepEqual(readdirSync(to), ['half'])
      writeFileSync(join(to, '.stead-restoring'), '')
      await backups.restore(first.id, to)
      assert.deepEqual(look(to), look(tree))
      await assert.rejects(backups.restore('nothing', join(work, 'never')), { code: 'backup.unknown-backup' })
      assert.ok(!existsSync(join(work, 'never')))
    })

    test('one that is forgotten is gone, and the others are whole', async () => {
      const backups = await open()
      const [first, second] = await backups.list()
      assert.ok(first && second)
      await backups.forget([first.id, 'not-there'])
      assert.deepEqual(await backups.list(), [second])
      assert.deepEqual(await backups.verify('data'), { problems: [] })
      const to = join(work, 'after-forgetting')
      await backups.restore(second.id, to, { fresh: true })
      assert.deepEqual(look(to), look(join(work, 'later')))
    })

    test('who stops it is told so, and nothing of it is seen', async () => {
      const backups = await open({ program: join(work, 'slow') })
      const stop = new AbortController()
      const reason = new Error('enough')
      const noise = join(work, 'noise')
      mkdirSync(noise)
      writeFileSync(join(noise, 'noise'), seededRandom(6).bytes(24_000_000))
      const onProgress = ({ doneBytes }: { readonly doneBytes: number }): void => {
        if (doneBytes > 1_000_000) stop.abort(reason)
      }
      const stopped = backups.backUp(noise, of('stopped', 3 * hourMs), { onProgress, signal: stop.signal })
      await assert.rejects(stopped, reason)
      assert.deepEqual(
        (await backups.list()).map(({ name }) => name),
        ['second'],
      )
    })
  })
}

/** A tree with what trees have: the same each time, but for its times. */
function plant(root: string): void {
  mkdirSync(join(root, 'data/empty'), { recursive: true })
  writeFileSync(join(root, 'data/big'), seededRandom(1).bytes(4_000_000))
  writeFileSync(join(root, 'data/nothing'), '')
  writeFileSync(join(root, 'data/secret'), 'only mine', { mode: 0o600 })
  writeFileSync(join(root, "data/a name, 'with' spaces – and more"), 'odd')
  writeFileSync(join(root, 'program'), '#!/bin/sh\n', { mode: 0o755 })
  symlinkSync('../program', join(root, 'data/link'))
  symlinkSync('/nowhere', join(root, 'dangling'))
  linkSync(join(root, 'program'), join(root, 'same program'))
  chmodSync(join(root, 'data/empty'), 0o700)
}

/** All that a tree holds, as a value. */
function look(root: string, dir = ''): Readonly<Record<string, string>> {
  return Object.fromEntries(
    readdirSync(join(root, dir)).flatMap((name): (readonly [string, string])[] => {
      const path = join(dir, name)
      const found = lstatSync(join(root, path))
      const mode = (found.mode & 0o7777).toString(8)
      if (found.isSymbolicLink()) return [[path, `-> ${readlinkSync(join(root, path))}`]]
      if (found.isDirectory()) return [[path, `dir ${mode}`], ...Object.entries(look(root, path))]
      const digest = createHash('sha256')
        .update(readFileSync(join(root, path)))
        .digest('hex')
      return [[path, `file ${mode} ${found.nlink} links ${found.size} ${digest}`]]
    }),
  )
}
