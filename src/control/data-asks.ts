/** What control asks of the node that has an app's data. Invariant: an answer is of the type that its task has. */
import { type Json, SteadError } from '../base/index.ts'
import type { Ask, DataAnswers, DataTask, LogLine } from '../protocol/index.ts'
import type { DesiredApp } from './state.ts'

/** Asks a node and yields what it answers, as `Control` does. */
export type AskNode = (
  node: string,
  what: Exclude<Ask, { kind: 'cancel' }>,
  signal: AbortSignal,
) => AsyncIterable<LogLine>

/** Asks the home of an app's data. Throws `control.node-away`, `control.older-node`, `control.ask-failed` with the node's words. */
export async function askData<T extends DataTask>(
  ask: AskNode,
  home: string,
  app: string,
  task: T,
  signal: AbortSignal = new AbortController().signal,
): Promise<DataAnswers[T['do']]> {
  const lines = await Array.fromAsync(ask(home, { kind: 'data', app, task }, signal))
  const text = lines.map((line) => line.text).join('')
  // Both ends are of this code, within a version of the protocol.
  if (text !== '') return JSON.parse(text) as DataAnswers[T['do']]
  throw new SteadError({
    code: 'control.ask-failed',
    message: `node ${home} did not say what came of it`,
    hint: 'Ask again.',
    retry: 'later',
  })
}

/** Asks the live resource of an app something, in the words of its provider. Throws `control.unknown-app`, and as `askData` does. */
export async function askResource(ask: AskNode, app: DesiredApp | undefined, part: string, order: Json): Promise<Json> {
  if (app !== undefined) return (await askData(ask, app.home, app.graph.app, { do: 'operate', part, order })).answer
  const hint = '`stead status --all` lists the apps there are.'
  throw new SteadError({ code: 'control.unknown-app', message: 'there is no app of that name', hint })
}
