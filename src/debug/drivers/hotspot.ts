/**
 * Asks a running Java machine of the HotSpot kind, which serves whoever may signal it: a file in its /tmp and SIGQUIT make it
 * listen on a Unix socket there, for its own user and root.
 *
 * Invariants: the signal goes only to a machine that handles it; others would end. The socket is dialled with the rights of the
 * process, because in a sandbox root is nobody to it.
 */
import { existsSync, lstatSync } from 'node:fs'
import { type Clock, sleep } from '../../base/index.ts'
import type { ProcessFacts } from '../recipe.ts'
import { didNotAnswer, processGone, refused } from '../refusals.ts'
import { runWithRights } from './adapter-process.ts'
import { isAlive, signalProcess } from './proc.ts'

const quit = 1n << 2n
const openMs = 15_000
const pollMs = 20
const answerMs = 30_000
const answerBytesMax = 64_000_000

/** Whether it can be asked: it was not started with `-Xrs` or `-XX:+DisableAttachMechanism`, which leave the signal to itself. */
export function answersQuit({ caughtSignals }: ProcessFacts): boolean {
  return (caughtSignals & quit) !== 0n
}

/** What can be asked: a command of `jcmd`, or what its agents have written down. */
export type HotspotQuestion = { readonly jcmd: string } | 'agentProperties'

/** What it answers. Throws `debug.refused`, `debug.no-answer`, `debug.process-gone`. */
export async function askHotspot(facts: ProcessFacts, question: HotspotQuestion, clock: Clock): Promise<string> {
  const directory = `/proc/${facts.pid}/root/tmp`
  const socket = `${directory}/.java_pid${facts.innerPid}`
  if (!existsSync(socket)) await open(facts, directory, socket, clock)
  if (!lstatSync(socket).isSocket()) throw refused(`${socket} is no socket`, 'Something else has taken its name.')
  const { code, output, errors } = await runWithRights(
    facts,
    [
      process.execPath,
      '-e',
      client,
      socket,
      ...(question === 'agentProperties' ? [question] : ['jcmd', question.jcmd]),
    ],
    answerMs,
    answerBytesMax,
    clock,
  )
  const [, status, text = ''] = /^(\d+)\n([\s\S]*)$/.exec(output) ?? []
  if (status === '0') return text
  if (!isAlive(facts)) throw processGone(facts)
  const said = (status === undefined ? errors : text).trim().split('\n').at(-1) ?? ''
  throw refused(
    `process ${facts.pid} does not answer as a Java machine does: ${said === '' ? `code ${code}` : said}`,
    'Machines other than HotSpot (OpenJ9, GraalVM native images) cannot be looked into.',
  )
}

async function open(facts: ProcessFacts, directory: string, socket: string, clock: Clock): Promise<void> {
  if (!answersQuit(facts)) throw refused(...notListening(facts))
  const asked = `${directory}/.attach_pid${facts.innerPid}`
  await runWithRights(facts, ['/usr/bin/touch', asked], answerMs, 1000, clock)
  try {
    signalProcess(facts, 'SIGQUIT')
    for (const endAt = clock.monotonicMs() + openMs; !existsSync(socket); await sleep(clock, pollMs)) {
      if (!isAlive(facts)) throw processGone(facts)
      if (clock.monotonicMs() > endAt) throw didNotAnswer(`the Java machine of process ${facts.pid}`, openMs)
    }
  } finally {
    await runWithRights(facts, ['/bin/rm', '-f', asked], answerMs, 1000, clock)
  }
}

/** Reason and hint for a machine that leaves the signal alone. */
export function notListening({ pid }: ProcessFacts): [reason: string, hint: string] {
  return [
    `process ${pid} was started so that it cannot be asked (-Xrs, -XX:+DisableAttachMechanism), and the signal would end it`,
    'Start it without those options.',
  ]
}

/** Writes one request of the first version of the protocol, and prints the answer. */
const client = `
const [path, command, word = ''] = process.argv.slice(1)
const socket = require('node:net').connect(path)
socket.on('error', (error) => { console.error(error.message); process.exit(1) })
socket.pipe(process.stdout)
socket.write(['1', command, word, '', '', ''].join('\\0'))
`
