/** The recorded disk as its users see it: started, formatted, mounted, cut, and taken away again. */
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, existsSync, mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Cleanup, sh } from '../../scripts/bench-domain-rig.ts'
import { sleep, systemClock } from '../../src/base/index.ts'
import type { LogEntry, Reply, Request } from './recorded-disk.ts'

type Question = Request extends infer Each ? (Each extends Request ? Omit<Each, 'id'> : never) : never

export interface RecordedDisk {
  /** Where the file system on the disk is mounted. */
  readonly host: string
  mount(): void
  /** Unmounts the file system and waits until nobody has the device any more. */
  unmount(): Promise<void>
  ask(question: Question): Promise<Reply>
}

export type { LogEntry }

/** Starts a recorded disk under `work` and makes an ext4 on it; it is not mounted yet. */
export async function startRecordedDisk(work: string, cleanup: Cleanup): Promise<RecordedDisk> {
  const [directory, host] = [join(work, 'fuse'), join(work, 'host')]
  for (const path of [directory, host]) mkdirSync(path)
  const script = join(import.meta.dirname, 'recorded-disk.ts')
  const child = fork(script, [directory], { execArgv: ['--disable-warning=ExperimentalWarning'] })
  cleanup.push(() => child.kill('SIGKILL'))
  const waiting = new Map<number, (reply: Reply) => void>()
  child.on('message', (reply: Reply) => {
    waiting.get(reply.id)?.(reply)
    waiting.delete(reply.id)
  })
  const ended = once(child, 'exit').then(([code]) => {
    throw new Error(`the recorded disk ended with ${String(code)}`)
  })
  ended.catch(() => undefined)
  const replyTo = (id: number): Promise<Reply> =>
    Promise.race([new Promise<Reply>((resolve) => waiting.set(id, resolve)), ended])
  await replyTo(0)
  cleanup.push(() => sh('umount', directory))
  const file = join(directory, 'disk')
  const state = { id: 0, device: '' }
  const disk: RecordedDisk = {
    host,
    mount() {
      state.device = sh('losetup', '--find', '--show', '--direct-io=off', file).trim()
      sh('mount', '-t', 'ext4', state.device, host)
      chmodSync(host, 0o755)
    },
    async unmount() {
      if (state.device === '') return
      sh('sh', '-c', `! mountpoint -q ${host} || umount ${host}`)
      sh('losetup', '--detach', state.device)
      // Detached while somebody looks at it (udev does), a device goes when he has looked.
      const held = `/sys/block/${state.device.slice('/dev/'.length)}/loop/backing_file`
      for (let tries = 0; existsSync(held) && readFileSync(held, 'utf8').startsWith(directory); tries += 1) {
        if (tries === 1000) throw new Error(`${state.device} is still in use`)
        await sleep(systemClock, 20)
      }
      state.device = ''
    },
    ask(question) {
      state.id += 1
      const answered = replyTo(state.id)
      child.send({ id: state.id, ...question })
      return answered
    },
  }
  cleanup.push(() => disk.unmount())
  sh('mkfs.ext4', '-q', '-E', 'lazy_itable_init=0,lazy_journal_init=0,nodiscard', file)
  return disk
}
