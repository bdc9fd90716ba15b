/**
 * A process of another machine, looked into by the user's own SSH: what looks is sent over the connection, runs there for one
 * look at a time, and is gone with the connection. Nothing has to be installed there.
 *
 * Invariant: whatever ends the connection, the directory there is removed by the shell that made it.
 */
import { basename, dirname } from 'node:path'
import type { Duplex, Readable } from 'node:stream'
import { isSteadError, SteadError } from '../../base/index.ts'
import type { Finding, Profile, SnapshotReport, StackReport } from '../../debug/index.ts'
import { type Ability, demand } from '../../debug/index.ts'
import type { DebugLook } from '../../protocol/index.ts'
import { connectServer, type Connection, listPackage, partOfPackage, parseServerAddress } from '../../remote/index.ts'
import type { Looked } from '../looked.ts'

/** Most characters of an answer: a profile of a big program. */
const answerBytesMax = 500_000_000
const errorBytesMax = 100_000

/** Whether a word names a process of a server: `ssh://[user@]host[:port]/PID-or-name`. */
export function isForeignProcess(word: string): boolean {
  return word.startsWith('ssh://')
}

/** Connects, brings what is needed, and finds the process. Throws what `connectServer` and `readProcess` throw. */
export async function lookAbroad(word: string, ability: Ability, say: (text: string) => void): Promise<Looked> {
  const [, host = word, target = ''] = /^(ssh:\/\/[^/]+)\/(.+)$/.exec(word) ?? []
  const { address } = parseServerAddress(host)
  if (target === '') {
    throw new SteadError({
      code: 'cli.usage',
      message: `${word} names no process`,
      hint: 'It is written ssh://HOST/PID, or ssh://HOST/NAME with the name of its program or script.',
    })
  }
  const connection = await connectServer(address)
  try {
    const helper = await bring(connection, say)
    const ask = async (look: DebugLook, signal?: AbortSignal): Promise<unknown> =>
      await answerOf(connection, helper, target, look, say, signal)
    const { finding, pid } = (await ask({ what: 'find' })) as { readonly finding: Finding; readonly pid: number }
    demand({ finding }, ability)
    return {
      name: `process ${pid} on ${connection.place}`,
      language: finding.language,
      lost: new Promise(() => undefined),
      stack: async () => (await ask({ what: 'stack' })) as StackReport,
      snapshot: async ({ condition = null, ...request }, signal) =>
        (await ask({ what: 'snapshot', condition, ...request }, signal)) as SnapshotReport,
      profile: async ({ kind, durationMs }, signal) =>
        (await ask({ what: 'profile', profile: kind, durationMs }, signal)) as Profile,
      serveDap: (client) => carry(connection, helper, target, client, say),
      [Symbol.asyncDispose]: () => Promise.resolve(connection[Symbol.dispose]()),
    }
  } catch (error) {
    connection[Symbol.dispose]()
    throw error
  }
}

interface Helper {
  readonly node: string
  readonly directory: string
}

/** A Node there that is new enough, its path; else nothing. */
const nodeScript = `[ "$(uname -sm)" = "$1" ] || { uname -sm >&2; exit 3; }
for n in "\${STEAD_PREFIX:-/opt/stead}/current/bin/node" "$(command -v node)"; do
  [ -x "$n" ] && "$n" -e 'process.exit(Number(process.versions.node.split(".")[0]) >= 26 ? 0 : 1)' && { echo "$n"; exit 0; }
done
exit 0`

/** Makes a directory, says it, and removes it when nobody is there any more. */
const keepScript = `set -e
umask 077
d=$(mktemp -d "\${TMPDIR:-/tmp}/stead-look.XXXXXX")
trap 'rm -rf "$d"' EXIT
trap 'exit 1' HUP INT TERM PIPE
echo "$d"
cat >/dev/null || true`

/** $1: directory. */
const unpackScript = `tar -xzf - -C "$1" --no-same-owner`

/** $1: Node. $2: the helper. $3: the process. $4: the look. */
const lookScript = `PATH=$PATH:/usr/local/bin:/usr/sbin:/sbin:$HOME/go/bin:$HOME/.local/bin
export PATH
exec "$1" --disable-warning=ExperimentalWarning "$2" "$3" "$4"`

async function bring(connection: Connection, say: (text: string) => void): Promise<Helper> {
  const kind = `Linux ${process.arch === 'x64' ? 'x86_64' : process.arch === 'arm64' ? 'aarch64' : process.arch}`
  const there = await connection.run(nodeScript, { args: [kind] })
  if (there.code !== 0) {
    throw new SteadError({
      code: 'cli.other-machine',
      message: `${connection.place} is ${there.stderr.trim() || 'an unknown kind of machine'}, and what is here runs on ${kind}`,
      hint: 'Run the command on a machine of that kind.',
    })
  }
  const node = there.stdout.trim()
  const keeper = connection.open(keepScript)
  const directory = await firstLine(keeper.stdout)
  if (!/^\/[\w./-]+$/.test(directory)) throw failed(connection, 'no directory could be made in /tmp there')
  say(
    node === ''
      ? `brings what looks, and its Node, to ${connection.place} for this time`
      : `brings what looks to ${connection.place} for this time`,
  )
  const input = partOfPackage(
    await listPackage(),
    ['base/', 'debug/', 'network/', 'cli/remote/look-helper.'],
    ['undici'],
    node === '',
  )
  const unpacked = await connection.run(unpackScript, { args: [directory], input })
  if (unpacked.code !== 0) throw failed(connection, unpacked.stderr.trim().split('\n').at(-1) ?? '')
  return { node: node === '' ? `${directory}/bin/node` : node, directory }
}

function firstLine(stream: Readable): Promise<string> {
  return new Promise((resolve) => {
    let said = ''
    stream.setEncoding('utf8').on('data', (text: string) => {
      said += text
      const end = said.indexOf('\n')
      if (end !== -1) resolve(said.slice(0, end))
    })
    stream.once('close', () => resolve(''))
  })
}

function start(
  connection: Connection,
  { node, directory }: Helper,
  target: string,
  look: DebugLook,
): ReturnType<Connection['open']> {
  // The same file here and there: in a checkout it is TypeScript, in a package it is not.
  const extension = import.meta.filename.slice(import.meta.filename.lastIndexOf('.'))
  const code = basename(dirname(dirname(import.meta.dirname)))
  const file = `${directory}/${code}/cli/remote/look-helper${extension}`
  return connection.open(lookScript, { args: [node, file, target, JSON.stringify(look)] })
}

async function answerOf(
  connection: Connection,
  helper: Helper,
  target: string,
  look: DebugLook,
  say: (text: string) => void,
  signal?: AbortSignal,
): Promise<unknown> {
  const program = start(connection, helper, target, look)
  const end = (): void => void program.stdin.end()
  signal?.addEventListener('abort', end, { once: true })
  const heard = hear(program.stderr, say)
  const pieces: Buffer[] = []
  let held = 0
  for await (const piece of program.stdout as AsyncIterable<Buffer>) {
    held += piece.length
    if (held > answerBytesMax) program.kill()
    pieces.push(piece)
  }
  signal?.removeEventListener('abort', end)
  const code = await program.ended
  if (code === 0) return JSON.parse(Buffer.concat(pieces).toString())
  throw heard.failure() ?? failed(connection, `it ended with code ${code}`)
}

async function carry(
  connection: Connection,
  helper: Helper,
  target: string,
  client: Duplex,
  say: (text: string) => void,
): Promise<boolean> {
  const program = start(connection, helper, target, { what: 'dap' })
  const heard = hear(program.stderr, say)
  client.on('error', () => undefined)
  client.pipe(program.stdin)
  program.stdout.pipe(client)
  const code = await program.ended
  const failure = heard.failure()
  if (failure !== null) throw failure
  return code === 0
}

/** Says its lines, and keeps the one that says what failed. */
function hear(stream: Readable, say: (text: string) => void): { readonly failure: () => SteadError | null } {
  let rest = ''
  let failure: SteadError | null = null
  stream.setEncoding('utf8').on('data', (text: string) => {
    const lines = `${rest}${text}`.slice(-errorBytesMax).split('\n')
    rest = lines.pop() ?? ''
    for (const line of lines) {
      if (line.startsWith(failureSign)) failure = failureIn(line.slice(failureSign.length))
      else if (line !== '') say(line)
    }
  })
  return { failure: () => failure }
}

/** Begins the line that says what failed; as the helper writes it, which must not be loaded here. */
const failureSign = '!'

function failureIn(text: string): SteadError {
  try {
    // What we have sent has written it.
    const { code, message, hint } = JSON.parse(text) as { code: string; message: string; hint?: string }
    return new SteadError({ code, message, ...(hint === undefined ? {} : { hint }) })
  } catch (error) {
    return isSteadError(error) ? error : new SteadError({ code: 'cli.look-failed', message: text })
  }
}

function failed(connection: Connection, why: string): SteadError {
  return new SteadError({
    code: 'cli.look-failed',
    message: `what looks could not be run on ${connection.place}: ${why}`,
    hint: 'It needs GNU tar, a writable /tmp and room for 150 MB there.',
  })
}
