/** What the tests of the conformance suite share: a place for a domain, which is gone when the test has ended. */
import assert from 'node:assert/strict'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { isSteadError } from '../base/index.ts'
import type { Domain, DomainCopy, DomainDriver, OpenDomain } from './driver.ts'

export interface DomainConformance {
  readonly driver: DomainDriver
  /** How a child process makes the same driver: an absolute URL, the function's name, its options beside the clock. */
  readonly load: { readonly module: string; readonly name: string; readonly options: Readonly<Record<string, string>> }
  /** Size of the domains the tests make. */
  readonly sizeBytes: number
  /** Where domains are made; default the system's directory for temporary files. */
  readonly under?: string
  /** Why the whole suite cannot run here, or false. */
  readonly skip: string | false
}

/** Where one test has its domain. */
export interface Place {
  readonly options: OpenDomain
  readonly open: () => Promise<Domain>
}

/** A root for the domains of one test, and the end of whatever stands there when the test has ended. */
export async function withPlace(given: DomainConformance, work: (place: Place) => Promise<void>): Promise<void> {
  const base = await mkdtemp(join(given.under ?? tmpdir(), 'domain-'))
  const options = { id: 'shop', root: join(base, 'a domain'), home: 'node-1', sizeBytes: given.sizeBytes }
  const opened: Domain[] = []
  const open = async (): Promise<Domain> => {
    const domain = await given.driver.open(options)
    opened.push(domain)
    return domain
  }
  try {
    await work({ options, open })
  } finally {
    for (const domain of opened) await domain.close()
    await given.driver.destroy(options.root)
    await rm(base, { recursive: true, force: true })
  }
}

/** Checks that a failure is the foreseen one of that code, for `assert.rejects`. */
export function code(expected: string): (error: unknown) => boolean {
  return (error) => {
    assert.ok(isSteadError(error), `not a foreseen failure: ${String(error)}`)
    assert.equal(error.code, expected)
    assert.match(error.message, /^[^\n]+$/, 'a message is one sentence')
    return true
  }
}

/** Writes a file of a tree. */
export const put: (directory: string, name: string, text: string) => Promise<void> = (directory, name, text) =>
  writeFile(join(directory, name), text)
/** Reads a file of a tree. */
export const get: (directory: string, name: string) => Promise<string> = (directory, name) =>
  readFile(join(directory, name), 'utf8')
/** Copies as `kind name`. */
export const names: (copies: readonly DomainCopy[]) => readonly string[] = (copies) =>
  copies.map((copy) => `${copy.kind} ${copy.name}`)
