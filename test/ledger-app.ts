/** An app that keeps what it has acknowledged in its database, and the books of a test about it. */
import { cpSync } from 'node:fs'
import { request } from 'node:http'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { setTimeout as pause } from 'node:timers/promises'
import { examplesDir, type Workbench } from './command-line.ts'

/**
 * Puts the app `ledger` into the bench: POST /NUMBER keeps a number and answers 201 once it is committed; GET / lists all. `more` is
 * what it declares besides.
 */
export function useLedger(bench: Workbench, mark = '', more = ''): void {
  bench.write({
    'app.ts': [
      `import { app, postgres, secret, service } from 'stead'`,
      `export default app('ledger', () => {`,
      `  const db = postgres('db', { migrations: './migrations' })`,
      `  const web = service('web', { from: './web', run: ['node', 'server.js'], http: 3000, use: { db } })`,
      `  return { parts: { web }, public: { 'ledger.localhost': web }, ${more} }`,
      `})`,
    ].join('\n'),
    'migrations/001_ledger.sql': 'CREATE TABLE ledger (number bigint PRIMARY KEY);\n',
    'web/server.js': `
      import { createServer } from 'node:http'
      import pg from 'pg'
      const pool = new pg.Pool({ connectionString: process.env.DATABASE_URL, max: 4, connectionTimeoutMillis: 2000 })
      pool.on('error', () => {})
      createServer(async (question, answer) => {
        try {
          if (question.url === '/health') return answer.end('ok')
          if (question.method === 'POST') {
            await pool.query('INSERT INTO ledger VALUES ($1)', [Number(question.url.slice(1))])
            return answer.writeHead(201).end()
          }
          const { rows } = await pool.query('SELECT number FROM ledger')
          answer.end(JSON.stringify(rows.map((row) => Number(row.number))))
        } catch (error) {
          answer.writeHead(503).end(error.message)
        }
      }).listen(process.env.PORT)
      process.on('SIGTERM', () => process.exit(0))
      // ${mark}
    `,
  })
  for (const name of ['package.json', 'package-lock.json'])
    cpSync(join(examplesDir, 'shop', 'web', name), join(bench.appDir, 'web', name))
}

export interface Books {
  /** Numbers that the app has acknowledged. */
  readonly kept: readonly number[]
  /** The last number that was tried. */
  readonly last: number
  /** Statuses and errors that came back, with how often. */
  readonly answers: ReadonlyMap<string, number>
}

/** Numbers on their way, until it is stopped; a test that fails stops it by disposing. */
export interface Writing extends AsyncDisposable {
  stop(): Promise<Books>
}

/** Keeps numbers from `first` on, one after another in each of `lanes`. */
export function writeNumbers(port: number, lanes: number, first = 1): Writing {
  const kept: number[] = []
  const answers = new Map<string, number>()
  let next = first
  let going = true
  const lane = async (): Promise<void> => {
    while (going) {
      const number = next++
      const { status } = await ask(port, 'POST', `/${number}`)
      answers.set(status, (answers.get(status) ?? 0) + 1)
      if (status === '201') kept.push(number)
      // Where nobody answers, not thousands a second.
      else if (status === 'ECONNREFUSED') await pause(20)
    }
  }
  const running = Array.from({ length: lanes }, lane)
  const stop = async (): Promise<Books> => {
    going = false
    await Promise.all(running)
    return { kept, answers, last: next - 1 }
  }
  return {
    stop,
    async [Symbol.asyncDispose]() {
      await stop()
    },
  }
}

/** What the app says that it has; null when it does not answer so. */
export async function readNumbers(port: number): Promise<readonly number[] | null> {
  const { status, body } = await ask(port, 'GET', '/')
  return status === '200' ? (JSON.parse(body) as number[]) : null
}

function ask(port: number, method: string, path: string): Promise<{ status: string; body: string }> {
  return new Promise((resolve) => {
    const failed = (error: NodeJS.ErrnoException): void => resolve({ status: error.code ?? error.message, body: '' })
    const question = request({
      host: '127.0.0.1',
      port,
      method,
      path,
      agent: false,
      headers: { host: 'ledger.localhost' },
    })
    question.setTimeout(30_000, () => question.destroy(new Error('no answer')))
    question.on('error', failed)
    question.on('response', (answer) => {
      text(answer).then((body) => resolve({ status: String(answer.statusCode), body }), failed)
    })
    question.end()
  })
}
