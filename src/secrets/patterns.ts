/**
 * The forms in which a value shows up in output: as it is, and as programs usually write it. Pure.
 *
 * Invariant: wherever a value stands inside base64 of something longer, one of the patterns stands there: of its three
 * alignments, each without the characters that depend on what is around it.
 */
import { failure } from './errors.ts'

/** Shorter values are not looked for: they would be found in everything. */
export const redactBytesMin = 6
/** Shortest line of a value of several lines that is looked for by itself. */
const lineBytesMin = 12
/** Lines of one value that are looked for by themselves, the longest first: a text of thousands is no longer one secret. */
const linesMax = 200

/** All patterns of a value, longest first, without doubles. Throws `secrets.too-short`. */
export function patternsOf(value: Uint8Array): readonly Buffer[] {
  if (value.length < redactBytesMin) {
    throw failure(
      'too-short',
      `a value of ${value.length} bytes cannot be kept out of logs: it would be found in everything`,
      `Values of ${redactBytesMin} bytes and more are.`,
    )
  }
  const bytes = Buffer.from(value)
  const hex = bytes.toString('hex')
  // Bytes as characters of latin1, so that equal ones are found.
  const forms = new Set([bytes.toString('latin1'), ...base64Of(bytes), hex, hex.toUpperCase(), ...textForms(bytes)])
  const long = [...forms].filter((form) => form.length >= redactBytesMin)
  return long.sort((a, b) => b.length - a.length).map((form) => Buffer.from(form, 'latin1'))
}

/** In the three alignments, in both alphabets. */
function base64Of(bytes: Buffer): readonly string[] {
  return [0, 1, 2].flatMap((before) => {
    const whole = Buffer.concat([Buffer.alloc(before), bytes]).toString('base64')
    // Characters that hold bits of what stands before, or of what comes after.
    const from = [0, 2, 3][before] ?? 0
    const to = Math.floor(((before + bytes.length) * 8) / 6)
    const inner = whole.slice(from, to)
    return [inner, inner.replaceAll('+', '-').replaceAll('/', '_')]
  })
}

/** Of text only: URL-encoded, in JSON, and line by line, because output is kept in lines. */
function textForms(bytes: Buffer): readonly string[] {
  const text = bytes.toString()
  if (!Buffer.from(text).equals(bytes)) return []
  const url = encodeURIComponent(text)
  const strictUrl = url.replace(/[!'()*]/g, (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`)
  const json = JSON.stringify(text).slice(1, -1)
  const ascii = json.replace(/[\u0080-\uffff]/g, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`)
  const lower = (form: string): string => form.replace(/%[0-9A-F]{2}/g, (code) => code.toLowerCase())
  const forms = [
    url,
    strictUrl,
    lower(url),
    lower(strictUrl),
    strictUrl.replaceAll('%20', '+'),
    json,
    json.replaceAll('/', '\\/'),
    ascii,
  ]
  const lines = [...new Set(text.split(/\r?\n/))].filter((line) => isTelling(line))
  const inLines = text.includes('\n') ? lines.sort((a, b) => b.length - a.length).slice(0, linesMax) : []
  return [...forms, ...inLines].map((form) => Buffer.from(form).toString('latin1'))
}

/** Whether a line says something of the value: not the armour of a key, which all keys have. */
function isTelling(line: string): boolean {
  return Buffer.byteLength(line) >= lineBytesMin && !/^-----.*-----$/.test(line)
}
