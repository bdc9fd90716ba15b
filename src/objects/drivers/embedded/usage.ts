/**
 * What each bucket holds, and what has happened in it since the index was opened: kept beside the index in tables of this
 * connection alone, which its own triggers bring forward. Invariant: after every commit the numbers are those of the index,
 * also when a change was undone, and asking for them costs no look at the objects.
 */
import type { DatabaseSync } from 'node:sqlite'
import { S3Failure } from '../../s3/failure.ts'
import type { Index } from './commits.ts'

/** What a bucket holds. */
export interface Held {
  /** Objects that a listing shows. */
  readonly objects: number
  /** Versions of them, delete markers among them. */
  readonly versions: number
  /** Bytes of all versions. Copies that share bytes count each. */
  readonly bytes: number
}

/** How many objects have come, gone and got another content. */
export interface Happened {
  readonly added: number
  readonly removed: number
  readonly changed: number
}

const schema = `
  CREATE TEMP TABLE usage (
    bucket TEXT PRIMARY KEY, objects INTEGER NOT NULL, versions INTEGER NOT NULL, bytes INTEGER NOT NULL
  ) STRICT, WITHOUT ROWID;
  INSERT INTO temp.usage
    SELECT bucket, sum(latest = 1 AND marker = 0), count(*), sum(bytes) FROM main.versions GROUP BY bucket;
  CREATE TEMP TRIGGER usage_added AFTER INSERT ON main.versions BEGIN
    INSERT INTO usage VALUES (NEW.bucket, NEW.latest = 1 AND NEW.marker = 0, 1, NEW.bytes)
      ON CONFLICT (bucket) DO UPDATE SET
        objects = objects + excluded.objects, versions = versions + 1, bytes = bytes + excluded.bytes;
  END;
  CREATE TEMP TRIGGER usage_removed AFTER DELETE ON main.versions BEGIN
    UPDATE usage SET objects = objects - (OLD.latest = 1 AND OLD.marker = 0), versions = versions - 1,
      bytes = bytes - OLD.bytes WHERE bucket = OLD.bucket;
  END;
  CREATE TEMP TRIGGER usage_changed AFTER UPDATE OF latest ON main.versions BEGIN
    UPDATE usage SET objects = objects + (NEW.latest = 1 AND NEW.marker = 0) - (OLD.latest = 1 AND OLD.marker = 0)
      WHERE bucket = NEW.bucket;
  END;
`

const nothingHeld: Held = { objects: 0, versions: 0, bytes: 0 }
const nothingHappened: Happened = { added: 0, removed: 0, changed: 0 }

export class Usage {
  readonly #index: Index
  readonly #quotaBytes: (bucket: string) => number | null
  readonly #happened = new Map<string, Happened>()

  /** `quotaBytes`: the most that a bucket may hold; null: no limit of its own. */
  constructor(db: DatabaseSync, index: Index, quotaBytes: (bucket: string) => number | null) {
    db.exec(schema)
    this.#index = index
    this.#quotaBytes = quotaBytes
  }

  /** What a bucket holds now. */
  held(bucket: string): Held {
    const row = this.#index.get('SELECT objects, versions, bytes FROM temp.usage WHERE bucket = ?', bucket)
    if (row === undefined) return nothingHeld
    return { objects: row.number('objects'), versions: row.number('versions'), bytes: row.number('bytes') }
  }

  /** What has happened in a bucket since the index was opened. */
  happened(bucket: string): Happened {
    return this.#happened.get(bucket) ?? nothingHappened
  }

  /**
   * Inside a transaction: does work that puts or deletes one object, and counts it once that is durable. Throws QuotaExceeded
   * where the bucket would hold more than it may; what makes it smaller is always let through.
   */
  counting<T>(bucket: string, kind: 'put' | 'delete', work: () => T): T {
    const before = this.held(bucket)
    const result = work()
    const after = this.held(bucket)
    const quotaBytes = this.#quotaBytes(bucket)
    if (quotaBytes !== null && after.bytes > quotaBytes && after.bytes > before.bytes)
      throw new S3Failure('QuotaExceeded', `The bucket may hold ${quotaBytes} bytes, and this would make it more.`)
    const grew = after.objects - before.objects
    const what = grew > 0 ? 'added' : grew < 0 ? 'removed' : kind === 'put' ? 'changed' : null
    if (what !== null) this.#index.afterCommit(() => this.#count(bucket, what))
    return result
  }

  #count(bucket: string, what: keyof Happened): void {
    const so = this.happened(bucket)
    this.#happened.set(bucket, { ...so, [what]: so[what] + 1 })
  }
}
