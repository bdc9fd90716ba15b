/** Asks a running platform about releases. Invariant: what the platform refused with is thrown as it was said. */
import type { DataAnswers } from '../protocol/index.ts'
import type { Deployment } from './operations.ts'
import type { Adoption, BackWish, ReleaseOperations, ReleasesStatus, ReleaseStatus, RestoreWish } from './releases.ts'

/** As the platform answers; who asks is known there. */
export interface ReleaseClient extends Pick<
  ReleaseOperations,
  'plan' | 'data' | 'preview' | 'spareCopy' | 'verify' | 'layOutLogs' | 'deleteCopies' | 'removeBranch' | 'replay'
> {
  list(app: string): Promise<ReleasesStatus>
  /** A release now and after every change, until its rollout has ended. */
  watch(app: string, release: number, signal: AbortSignal): AsyncIterable<ReleaseStatus>
  back(app: string, wish: BackWish): Promise<number>
  cancel(app: string): Promise<void>
  checkpoint(app: string, name: string): Promise<{ readonly tookMs: number }>
  adopt(app: string, adoption: Adoption): Promise<void>
  restoreAt(app: string, wish: RestoreWish): Promise<DataAnswers['forward']>
  branch(app: string, name: string, from: string | null, purpose: 'branch' | 'look'): Promise<string>
}

/** How a platform is asked. */
interface Asking {
  readonly value: <T>(method: string, path: string, body?: unknown) => Promise<T>
  readonly lines: <T>(path: string, signal: AbortSignal) => AsyncIterable<T>
}

export function releaseClient({ value, lines }: Asking): ReleaseClient {
  const at = (app: string, rest: string): string => `/v1/apps/${encodeURIComponent(app)}${rest}`
  const named = (name: string): string => encodeURIComponent(name)
  return {
    plan: (deployment: Deployment) => value('POST', at(deployment.graph.app, '/plan'), deployment),
    list: (app) => value('GET', at(app, '/releases')),
    watch: (app, release, signal) => lines(at(app, `/releases/${release}/watch`), signal),
    data: (app, sizes = false) => value('GET', at(app, `/data${sizes ? '?sizes=true' : ''}`)),
    preview: (app, wish) => value('POST', at(app, '/rollback/preview'), wish),
    back: async (app, wish) => (await value<{ release: number }>('POST', at(app, '/rollback'), wish)).release,
    async cancel(app) {
      await value('POST', at(app, '/rollout/cancel'))
    },
    checkpoint: (app, name) => value('PUT', at(app, `/checkpoints/${named(name)}`)),
    spareCopy: (app, name) => value('PUT', at(app, `/copies/${named(name)}`)),
    verify: (app, copy, probes) => value('POST', at(app, `/copies/${named(copy)}/verify`), { probes }),
    layOutLogs: (app) => value('POST', at(app, '/logs/lay-out')),
    async adopt(app, adoption) {
      await value('POST', at(app, '/copies/adopt'), adoption)
    },
    restoreAt: (app, wish) => value('POST', at(app, '/restore'), wish),
    deleteCopies: async (app, names) =>
      (await value<{ deleted: readonly string[] }>('POST', at(app, '/copies/delete'), { names })).deleted,
    branch: async (app, name, from, purpose) =>
      (await value<{ app: string }>('POST', at(app, '/branches'), { name, from, purpose })).app,
    async removeBranch(app, name) {
      await value('DELETE', at(app, `/branches/${named(name)}`))
    },
    replay: async (app, wish) => (await value<{ rows: number }>('POST', at(app, '/replay'), wish)).rows,
  }
}
