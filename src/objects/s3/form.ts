/**
 * A form of a browser (`multipart/form-data`) that ends with a file: its fields, then the bytes of the file as they come.
 * Holds one field, or one piece of the file and the length of a boundary. Pure but for the source that it is handed.
 */
import { S3Failure } from './failure.ts'

const fieldsMax = 100
const fieldBytesMax = 64 * 1024
const partHeaderBytesMax = 8 * 1024

/** What came before the file, and the file. */
export interface Form {
  /** Lower-case names. */
  readonly fields: ReadonlyMap<string, string>
  readonly fileName: string
  readonly fileType: string | undefined
  /** To be read once. */
  readonly file: AsyncIterable<Uint8Array>
}

/** Reads a form up to its file. Throws MalformedPOSTRequest, or MaxMessageLengthExceeded where it is too large. */
export async function readForm(contentType: string, source: AsyncIterable<Uint8Array>): Promise<Form> {
  const [, quotedBoundary, bareBoundary] =
    /^multipart\/form-data;.*boundary=(?:"([^"]{1,70})"|([^;,\s]{1,70}))/i.exec(contentType) ?? []
  const boundary = quotedBoundary ?? bareBoundary
  if (boundary === undefined) throw malformed('it names no boundary')
  const reader = new FormReader(source, boundary)
  await reader.begin()
  const fields = new Map<string, string>()
  for (let count = 0; count < fieldsMax; count += 1) {
    const { name, fileName, type } = await reader.partHeader()
    if (name === 'file') return { fields, fileName: fileName ?? '', fileType: type, file: reader.content() }
    fields.set(name, await reader.text())
    if (await reader.atEnd()) throw new S3Failure('InvalidArgument', 'The form has no field "file".')
  }
  throw malformed('it has too many fields')
}

interface PartHeader {
  readonly name: string
  readonly fileName: string | undefined
  readonly type: string | undefined
}

class FormReader {
  readonly #source: AsyncIterator<Uint8Array>
  readonly #delimiter: Buffer
  #held: Buffer = Buffer.alloc(0)

  constructor(source: AsyncIterable<Uint8Array>, boundary: string) {
    this.#source = source[Symbol.asyncIterator]()
    this.#delimiter = Buffer.from(`\r\n--${boundary}`)
  }

  /** Passes over the first boundary, which has no line before it. */
  async begin(): Promise<void> {
    this.#held = Buffer.from('\r\n')
    const before = await this.#until(this.#delimiter, partHeaderBytesMax)
    if (before.length > 0) throw malformed('something stands before its first boundary')
    await this.#endOfLine()
  }

  async partHeader(): Promise<PartHeader> {
    const text = (await this.#until(Buffer.from('\r\n\r\n'), partHeaderBytesMax)).toString('utf8')
    const lines = text.split('\r\n')
    const disposition = lines.find((line) => /^content-disposition:/i.test(line)) ?? ''
    const name = /[;\s]name="([^"]*)"/i.exec(disposition)?.[1]
    if (name === undefined) throw malformed('a field has no name')
    const fileName = /filename="([^"]*)"/i.exec(disposition)?.[1]
    const type = lines.find((line) => /^content-type:/i.test(line))?.replace(/^[^:]*:\s*/, '')
    return { name: name.toLowerCase(), fileName, type }
  }

  async text(): Promise<string> {
    return (await this.#until(this.#delimiter, fieldBytesMax)).toString('utf8')
  }

  /** Whether the boundary that was just passed is the last. */
  async atEnd(): Promise<boolean> {
    await this.#need(2)
    if (this.#held.subarray(0, 2).toString('latin1') === '--') return true
    await this.#endOfLine()
    return false
  }

  async *content(): AsyncGenerator<Uint8Array> {
    for (;;) {
      const at = this.#held.indexOf(this.#delimiter)
      if (at !== -1) {
        if (at > 0) yield this.#held.subarray(0, at)
        this.#held = this.#held.subarray(at + this.#delimiter.length)
        return this.#drain()
      }
      const safe = this.#held.length - this.#delimiter.length
      if (safe > 0) {
        yield this.#held.subarray(0, safe)
        this.#held = this.#held.subarray(safe)
      }
      if (!(await this.#more())) throw new S3Failure('IncompleteBody')
    }
  }

  /** What comes after the file is not used; a form ends with it. */
  async #drain(): Promise<void> {
    for (let bytes = 0; bytes < fieldBytesMax; bytes += this.#held.length) {
      this.#held = Buffer.alloc(0)
      if (!(await this.#more())) return
    }
    throw malformed('it goes on after its file')
  }

  async #until(mark: Buffer, bytesMax: number): Promise<Buffer> {
    for (;;) {
      const at = this.#held.indexOf(mark)
      if (at !== -1) {
        const found = this.#held.subarray(0, at)
        this.#held = this.#held.subarray(at + mark.length)
        return found
      }
      if (this.#held.length > bytesMax)
        throw new S3Failure('MaxMessageLengthExceeded', 'A field of the form is too large.')
      if (!(await this.#more())) throw malformed('it ends early')
    }
  }

  async #endOfLine(): Promise<void> {
    await this.#need(2)
    if (this.#held.subarray(0, 2).toString('latin1') !== '\r\n') throw malformed('a boundary is not a line of its own')
    this.#held = this.#held.subarray(2)
  }

  async #need(bytes: number): Promise<void> {
    while (this.#held.length < bytes) if (!(await this.#more())) throw malformed('it ends early')
  }

  async #more(): Promise<boolean> {
    const next = await this.#source.next()
    if (next.done === true) return false
    this.#held = this.#held.length === 0 ? Buffer.from(next.value) : Buffer.concat([this.#held, next.value])
    return true
  }
}

function malformed(what: string): S3Failure {
  return new S3Failure('MalformedPOSTRequest', `The form cannot be used: ${what}.`)
}
