/** Proves a copy of a bucket: its index is whole, and every byte that it speaks of is there and is what it was. */
import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { join } from 'node:path'
import { messageOf } from '../../../base/index.ts'
import { failure } from '../../errors.ts'
import { openPlace } from '../embedded/place.ts'

/** Checks a data directory; answers what was checked, a sentence each. `probe`: a key that must be there. Throws `objects.corrupt`. */
export async function verifyBucket(bucket: string, dir: string, probe: string | null): Promise<readonly string[]> {
  const corrupt = (what: string, cause?: unknown): Error =>
    failure('corrupt', `the copy of bucket ${bucket} is damaged: ${what}`, 'Use another copy.', cause)
  const place = openPlace(dir)
  try {
    const { db } = place
    const integrity = db.prepare('PRAGMA integrity_check(1)').get()?.['integrity_check']
    if (integrity !== 'ok') throw corrupt(String(integrity))
    const missing = db
      .prepare(
        `SELECT v.key FROM versions v, json_each(v.segments) s
         WHERE NOT EXISTS (SELECT 1 FROM blobs WHERE hash = json_extract(s.value, '$[0]')) LIMIT 1`,
      )
      .get()
    if (missing !== undefined) throw corrupt(`bytes of ${String(missing['key'])} are missing`)
    let [files, bytes] = [0, 0]
    for (const row of db.prepare('SELECT hash, bytes, data FROM blobs').iterate()) {
      const [hash, size, data] = [String(row['hash']), Number(row['bytes']), row['data']]
      const found =
        data instanceof Uint8Array
          ? { hash: createHash('sha256').update(data).digest('hex'), bytes: data.length }
          : await digestOf(join(place.blobsDir, hash.slice(0, 2), hash.slice(2))).catch((error: unknown) => {
              throw corrupt(messageOf(error), error)
            })
      if (found.hash !== hash || found.bytes !== size) throw corrupt(`the bytes with the hash ${hash} are others`)
      files += 1
      bytes += size
    }
    const objects = db
      .prepare('SELECT count(*) AS n FROM versions WHERE bucket = ? AND latest = 1 AND marker = 0')
      .get(bucket)?.['n']
    const checks = [
      `the index is whole and names ${Number(objects ?? 0)} objects`,
      `${files} contents of ${bytes} bytes were read and have the hashes they had`,
    ]
    if (probe === null) return checks
    const sql = 'SELECT 1 FROM versions WHERE bucket = ? AND key = ? AND latest = 1 AND marker = 0'
    if (db.prepare(sql).get(bucket, probe) === undefined) throw corrupt(`there is no object ${probe}`)
    return [...checks, `the object ${probe} is there`]
  } finally {
    place.db.close()
  }
}

async function digestOf(path: string): Promise<{ readonly hash: string; readonly bytes: number }> {
  const hash = createHash('sha256')
  let bytes = 0
  for await (const piece of createReadStream(path)) {
    const chunk: Buffer = piece
    hash.update(chunk)
    bytes += chunk.length
  }
  return { hash: hash.digest('hex'), bytes }
}
