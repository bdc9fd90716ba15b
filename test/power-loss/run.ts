/**
 * The proof of what a loss of power leaves: a domain with PostgreSQL, SQLite and files lies on a disk that records every write
 * and flush (an ext4, on it the domain's image, in that btrfs, as on a server), while numbers are kept, a checkpoint is taken,
 * cloned, and made the live data. Then the disk is put to what each flush has left, and to that with a random part of
 * what was written after it; the whole stack comes up on it, and is judged.
 *
 * In order is: the domain opens, with its generation as it was or as the change was to make it; what was acknowledged is in
 * the state that was live before the swap, and nothing without all that came before it; a checkpoint that was acknowledged is
 * there, holds what it held, and can be cloned.
 */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { chmodSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { Cleanup, initdb, Server, sh, socketDirectory, unpackPostgres } from '../../scripts/bench-domain-rig.ts'
import { seededRandom, systemClock } from '../../src/base/index.ts'
import { btrfsDriver } from '../../src/domain/index.ts'
import type { Domain } from '../../src/domain/index.ts'
import { Book, progressOf, readCopy, startLoad, violations } from '../checkpoint-proof.ts'
import type { Contents } from '../checkpoint-proof.ts'
import { checkpointProofSkip } from '../checkpoint-run.ts'
import { needsAll, needsFile } from '../needs.ts'
import { startRecordedDisk } from './disk.ts'
import type { LogEntry, RecordedDisk } from './disk.ts'

/** Why it cannot run here, or false. */
export const powerLossSkip: string | false = needsAll(
  checkpointProofSkip,
  needsFile('/dev/fuse', 'FUSE in the kernel'),
  needsFile('/usr/sbin/mkfs.ext4', 'apt-get install e2fsprogs'),
)

const settings = { max_wal_size: '96MB', min_wal_size: '32MB', shared_buffers: '32MB', max_connections: '10' }
const driver = btrfsDriver({ clock: systemClock, reserveBytes: () => 0 })

/** Changes of the domain, in their order; each is asked for and then answered. */
const changes = ['checkpoint', 'clone', 'swap', 'delete'] as const
type Change = (typeof changes)[number]

interface Place {
  readonly disk: RecordedDisk
  readonly book: Book
  readonly root: string
  readonly bin: string
  readonly serverOn: (data: string) => Server
}

/** When the checkpoint was asked for and answered, by the book. */
type Span = Readonly<Record<'askedAt' | 'answeredAt', number>>

/** Where to cut: after a flush, with part of what was written after it or without. */
interface Cut {
  readonly position: number
  readonly torn: number | null
  /** The power goes just before this place of the log: what was promised until there is to hold. */
  readonly promised: number
}

/**
 * The proof in a mount namespace of its own. Others clone the one of the machine at any time (every sandbox does), and would
 * hold on to a file system that was unmounted here, and write to a disk that has been put to another moment.
 */
export async function provePowerLossApart(which: 'all' | 'one of each kind'): Promise<string> {
  const script = [
    `const { provePowerLoss } = await import(${JSON.stringify(import.meta.url)})`,
    `console.log(await provePowerLoss(${JSON.stringify(which)}))`,
  ].join('\n')
  const node = [process.execPath, '--disable-warning=ExperimentalWarning', '--input-type=module', '-e', script]
  const { stdout } = await promisify(execFile)('unshare', ['--mount', '--propagation', 'private', ...node])
  return stdout.trim()
}

/** Records once and judges cuts; throws with the first that is out of order. Answers a line for the reader. */
export async function provePowerLoss(which: 'all' | 'one of each kind'): Promise<string> {
  await using cleanup = new Cleanup()
  const work = mkdtempSync(join(tmpdir(), 'stead-power-'))
  chmodSync(work, 0o755)
  cleanup.push(() => rmSync(work, { recursive: true, force: true }))
  const bin = unpackPostgres(work)
  const sockets = socketDirectory(work)
  const disk = await startRecordedDisk(work, cleanup)
  // An acknowledgement is marked after it was given: at a cut behind the mark it was given for certain.
  const book = new Book((moment) => void disk.ask({ what: 'mark', text: String(moment) }))
  const serverOn = (data: string): Server => new Server(bin, data, sockets, 6000, settings)
  const place = { disk, book, root: join(disk.host, 'domain'), bin, serverOn }
  const { log, span } = await record(place, cleanup)
  const all = cutsOf(log)
  const kinds = Map.groupBy(all, (cut) => stageAt(log, cut.promised).title)
  // From the middle of each kind, by turns torn and not.
  const some = [...kinds.values()].flatMap((cuts, index) => cuts[2 * Math.floor(cuts.length / 4) + (index % 2)] ?? [])
  // The proof of the proof: a disk that breaks the promise of its flushes is found out.
  const [first] = all
  assert.ok(first !== undefined && first.torn === null)
  const promised = log.findIndex((entry) => entry.kind === 'mark' && entry.text === 'asked swap')
  await assert.rejects(judge(place, log, { ...first, promised }, span), /was acknowledged before the checkpoint/)
  const cuts = which === 'all' ? all : some
  for (const cut of cuts) await judge(place, log, cut, span)
  const [writes, flushes] = (['write', 'flush'] as const).map(
    (kind) => log.filter((entry) => entry.kind === kind).length,
  )
  return `${cuts.length} of ${all.length} cuts in order, at ${flushes} flushes among ${writes} writes: ${[...kinds].map(([title, { length }]) => `${length} ${title}`).join(', ')}`
}

/** Works on the domain while the disk records. */
async function record(place: Place, cleanup: Cleanup): Promise<{ log: readonly LogEntry[]; span: Span }> {
  const { disk, book, root } = place
  disk.mount()
  const domain = await driver.open({ id: 'proof', root, home: 'here', sizeBytes: 700 * 2 ** 20 })
  cleanup.push(() => domain.close().catch(() => undefined))
  chmodSync(root, 0o755)
  initdb(place.bin, join(domain.path, 'postgres'), 'nothing')
  // The rig makes it without syncing, which is nobody's promise.
  sh('sync', '--file-system', domain.path)
  const server = place.serverOn(join(domain.path, 'postgres'))
  cleanup.push(() => server.stop('SIGQUIT'))
  assert.ok(await server.ready(), server.complaint)
  const random = seededRandom(7)
  const choose = (sides: number): number => (random.bytes(4)[3] ?? 0) % sides
  const load = await startLoad(domain.path, server, { lanes: 3, restMs: 25 }, choose, book)
  cleanup.push(() => load.stop())

  const change = async (name: Change, work: () => Promise<unknown>): Promise<Span> => {
    await disk.ask({ what: 'mark', text: `asked ${name}` })
    const askedAt = book.now()
    await work()
    const answeredAt = book.now()
    await disk.ask({ what: 'mark', text: `answered ${name}` })
    return { askedAt, answeredAt }
  }
  await progressOf(load)
  await disk.ask({ what: 'record' })
  await progressOf(load)
  const span = await change('checkpoint', () => domain.checkpoint('c'))
  await progressOf(load)
  await change('clone', () => domain.clone('back', 'c'))
  await progressOf(load)
  await load.stop()
  assert.deepEqual(load.failures, [])
  // As the platform ends a server whose data is left behind: at once, so that what is live has no checkpoint of its own.
  await server.stop('SIGQUIT')
  await change('swap', () => domain.swap('back', 'before', 1))
  await change('delete', () => domain.delete('c'))
  const { log = [] } = await disk.ask({ what: 'end' })
  await domain.close()
  await disk.unmount()
  return { log, span }
}

/**
 * After every flush: what it has left, and that with a part of what was written before the next. The power goes just before
 * the next one is answered: everything acknowledged by then has only this flush to rely on.
 */
function cutsOf(log: readonly LogEntry[]): readonly Cut[] {
  const flushes = log.flatMap((entry, index) => (entry.kind === 'flush' ? [index] : []))
  return flushes.flatMap((flush, number) =>
    [null, flush + 1].map((torn) => ({ position: flush + 1, torn, promised: flushes[number + 1] ?? log.length })),
  )
}

interface Stage {
  readonly asked: (name: Change) => boolean
  readonly answered: (name: Change) => boolean
  /** What was acknowledged before this moment of the book was so for certain. */
  readonly acknowledgedAt: number
  readonly title: string
}

/** What had been asked and answered at a place of the log. */
function stageAt(log: readonly LogEntry[], position: number): Stage {
  const marks = log.slice(0, position).flatMap((entry) => (entry.kind === 'mark' ? [entry.text] : []))
  const asked = (name: Change): boolean => marks.includes(`asked ${name}`)
  const answered = (name: Change): boolean => marks.includes(`answered ${name}`)
  const during = changes.find((name) => asked(name) && !answered(name))
  const last = changes.findLast(answered)
  return {
    asked,
    answered,
    acknowledgedAt: Math.max(0, ...marks.map(Number).filter((moment) => !Number.isNaN(moment))),
    title: during === undefined ? (last === undefined ? 'before' : `after ${last}`) : `during ${during}`,
  }
}

/** Puts the disk to a cut, brings everything up on it, and judges it by what was promised there. */
async function judge(
  { disk, book, root, serverOn }: Place,
  log: readonly LogEntry[],
  cut: Cut,
  span: Span,
): Promise<void> {
  const { asked, answered, acknowledgedAt, title } = stageAt(log, cut.promised)
  const at = `${title}, at ${cut.position} of ${log.length}${cut.torn === null ? '' : ', torn'}`
  await disk.ask({ what: 'cut', position: cut.position, torn: cut.torn })
  disk.mount()
  let domain: Domain | null = null
  try {
    domain = await driver.open({ id: 'proof', root, home: 'here', sizeBytes: 0 })
    const copies = new Map((await domain.list()).map((copy) => [copy.name, copy]))
    const generations = answered('swap') ? [2] : asked('swap') ? [1, 2] : [1]
    assert.ok(generations.includes(domain.generation), `generation ${domain.generation}, ${at}`)
    const lived = domain.generation === 1 ? domain.path : copies.get('before')?.path
    assert.ok(lived !== undefined, `the state before the swap is gone, ${at}`)
    const inOrder = (contents: Contents, { askedAt, answeredAt }: Span, what: string): void =>
      assert.deepEqual(violations(book, contents, askedAt, answeredAt).slice(0, 5), [], `${what}, ${at}`)
    const ends = { askedAt: acknowledgedAt, answeredAt: Number.POSITIVE_INFINITY }
    inOrder(await readCopy(lived, serverOn), ends, 'what was live')
    if (domain.generation === 2) inOrder(await readCopy(domain.path, serverOn), span, 'what is live')
    const mustHave = answered('checkpoint') && !asked('delete')
    assert.ok(copies.has('c') || !mustHave, `the checkpoint is gone, ${at}`)
    assert.ok(!copies.has('c') || (asked('checkpoint') && !answered('delete')), `a checkpoint too many, ${at}`)
    if (copies.has('c') && domain.generation === 1) {
      const look = await domain.clone('look', 'c')
      inOrder(await readCopy(look.path, serverOn), span, 'the checkpoint')
    }
  } catch (error) {
    throw new Error(`out of order, ${at}: ${String(error)}`, { cause: error })
  } finally {
    await domain?.close()
    await disk.unmount()
  }
}
