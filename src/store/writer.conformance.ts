/**
 * The process that the crash cases kill: it opens a store as its argument says and writes pairs of records, several at a
 * time, for ever. It prints a line only after the commit was acknowledged; standard output is a pipe, which is written at once.
 */
import { argv, stdout } from 'node:process'
import type { Store } from './store.ts'

const workers = 8

interface Job {
  readonly module: string
  readonly name: string
  readonly options: unknown
  readonly label: string
}

async function main(job: Job): Promise<void> {
  const module = (await import(job.module)) as Record<string, (options: unknown) => Promise<Store>>
  const store = await module[job.name]?.(job.options)
  if (store === undefined) throw new Error(`${job.module} has no export ${job.name}`)
  const work = async (worker: number): Promise<never> => {
    for (let count = 0; ; count += 1) {
      const name = `${job.label}/${worker}/${count}`
      const operations = ['a', 'b'].map((half) => ({ kind: 'put', key: `${name}/${half}`, value: count }) as const)
      const result = await store.transact({ conditions: [], operations })
      if (result.committed) stdout.write(`${name} ${result.revision} .\n`)
    }
  }
  await Promise.all(Array.from({ length: workers }, (_, worker) => work(worker)))
}

await main(JSON.parse(argv[2] ?? '{}') as Job)
