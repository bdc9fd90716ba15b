/** Buckets in the index. Everything here runs inside a transaction but the reads. */
import { S3Failure } from '../../s3/failure.ts'
import { bucketOf } from './records.ts'
import type { BucketRecord, BucketSettings, Versioning } from './records.ts'
import type { Index } from './commits.ts'

export const bucketsMax = 1000

export class Buckets {
  readonly #index: Index

  constructor(index: Index) {
    this.#index = index
  }

  find(name: string): BucketRecord | undefined {
    const row = this.#index.get('SELECT * FROM buckets WHERE name = ?', name)
    return row === undefined ? undefined : bucketOf(row)
  }

  /** Throws NoSuchBucket. */
  get(name: string): BucketRecord {
    const bucket = this.find(name)
    if (bucket === undefined) throw new S3Failure('NoSuchBucket')
    return bucket
  }

  /** Those of an owner, or all, in the order of their names. */
  list(owner: string | undefined): readonly BucketRecord[] {
    const rows = this.#index.all(
      'SELECT * FROM buckets WHERE ? IS NULL OR owner = ? ORDER BY name',
      owner ?? null,
      owner ?? null,
    )
    return rows.map(bucketOf)
  }

  /** Throws BucketAlreadyOwnedByYou, BucketAlreadyExists or TooManyBuckets. */
  create(bucket: BucketRecord): void {
    const found = this.find(bucket.name)
    if (found !== undefined) {
      throw new S3Failure(found.owner === bucket.owner ? 'BucketAlreadyOwnedByYou' : 'BucketAlreadyExists')
    }
    if ((this.#index.get('SELECT count(*) AS held FROM buckets')?.number('held') ?? 0) >= bucketsMax) {
      throw new S3Failure('TooManyBuckets')
    }
    const { name, owner, createdMs, versioning, locked, settings } = bucket
    const sql = 'INSERT INTO buckets (name, owner, created_ms, versioning, locked, settings) VALUES (?, ?, ?, ?, ?, ?)'
    this.#index.run(sql, name, owner, createdMs, versioning, locked ? 1 : 0, JSON.stringify(settings))
  }

  /** Throws BucketNotEmpty while it holds versions. Uploads that were begun do not count; the caller gives them up. */
  remove(name: string): void {
    if (this.#index.get('SELECT 1 FROM versions WHERE bucket = ? LIMIT 1', name) !== undefined) {
      throw new S3Failure('BucketNotEmpty')
    }
    this.#index.run('DELETE FROM buckets WHERE name = ?', name)
  }

  /** Changes what clients have set. Throws NoSuchBucket. */
  change(name: string, change: (settings: BucketSettings, bucket: BucketRecord) => BucketSettings): void {
    const bucket = this.get(name)
    const settings = JSON.stringify(change(bucket.settings, bucket))
    this.#index.run('UPDATE buckets SET settings = ? WHERE name = ?', settings, name)
  }

  setVersioning(name: string, versioning: Versioning): void {
    this.#index.run('UPDATE buckets SET versioning = ? WHERE name = ?', versioning, name)
  }

  lock(name: string): void {
    this.#index.run('UPDATE buckets SET locked = 1 WHERE name = ?', name)
  }
}
