/**
 * A body being compressed on its way to the client: bounded memory (backpressure both ways), and pieces of a body whose end
 * is not known yet leave within `flushMs`, so that a page that is sent bit by bit also arrives so.
 */
import { constants, createBrotliCompress, createGzip, createZstdCompress } from 'node:zlib'
import type { BrotliCompress, Gzip, ZstdCompress } from 'node:zlib'
import type { Clock } from '../base/index.ts'
import type { Encoding } from './compress.ts'

/** Fast settings: at higher ones the CPU grows far more than the bytes shrink. */
const make: Readonly<Record<Encoding, () => Gzip | BrotliCompress | ZstdCompress>> = {
  gzip: () => createGzip({ level: 4 }),
  br: () =>
    createBrotliCompress({ params: { [constants.BROTLI_PARAM_QUALITY]: 4, [constants.BROTLI_PARAM_LGWIN]: 18 } }),
  zstd: () =>
    createZstdCompress({ params: { [constants.ZSTD_c_compressionLevel]: 3, [constants.ZSTD_c_windowLog]: 18 } }),
}

export interface CompressorContext {
  readonly clock: Clock
  readonly flushMs: number
  /** More may come after a pause. */
  readonly streamed: boolean
  /** Where it goes; `write` answers false when it is to wait for `drain`. */
  readonly out: { write(chunk: Buffer): boolean; once(event: 'drain', run: () => void): unknown }
  readonly onBytes: (bytes: number) => void
  readonly onEnd: () => void
  /** It could not go on. */
  readonly onError: () => void
  /** Its memory is free again. Called once. */
  readonly onFree: () => void
}

export class Compressor {
  readonly #stream: Gzip | BrotliCompress | ZstdCompress
  readonly #context: CompressorContext
  #timer: Disposable | null = null

  constructor(encoding: Encoding, context: CompressorContext) {
    const { out, onBytes, onEnd, onError, onFree } = context
    const stream = make[encoding]()
    this.#context = context
    this.#stream = stream
    stream.on('data', (chunk: Buffer) => {
      onBytes(chunk.length)
      if (out.write(chunk)) return
      stream.pause()
      out.once('drain', () => stream.resume())
    })
    stream.on('end', onEnd)
    stream.on('error', onError)
    stream.once('close', onFree)
  }

  /** False: wait for `drained`. */
  write(chunk: Buffer): boolean {
    const { streamed, clock, flushMs } = this.#context
    if (streamed) {
      this.#timer ??= clock.after(flushMs, () => {
        this.#timer = null
        if (!this.#stream.destroyed && !this.#stream.writableEnded) this.#stream.flush()
      })
    }
    return this.#stream.write(chunk)
  }

  /** Calls `run` when more can be taken. */
  onceDrained(run: () => void): void {
    this.#stream.once('drain', run)
  }

  end(last: Buffer | null): void {
    this.#rest()
    if (last === null) this.#stream.end()
    else this.#stream.end(last)
  }

  destroy(): void {
    this.#rest()
    this.#stream.destroy()
  }

  #rest(): void {
    this.#timer?.[Symbol.dispose]()
    this.#timer = null
  }
}
