/**
 * The scripts a Node has loaded, and the places in them as a person names them: paths and lines of what was written,
 * through source maps where there are any.
 */
import type { Cdp } from '../cdp/client.ts'
import { noStatement, unknownPlace } from '../refusals.ts'
import { mapCharactersMax, parseSourceMap, type SourceMap, type SourcePlace } from '../source-map.ts'

interface Script {
  readonly id: string
  readonly url: string
  readonly mapUrl: string
  readonly lines: number
}

/** Where to set a breakpoint for a line that a person named. */
export interface RunningPlace {
  readonly url: string
  /** From 0. */
  readonly lineNumber: number
  readonly columnNumber: number
}

/** A place in what was written. */
export interface WrittenPlace {
  /** A path, or the script's name where it is no file. */
  readonly file: string
  /** From 1. */
  readonly line: number
}

/** Most scripts that are remembered: a program that evaluates texts makes one for each. */
const scriptsMax = 50_000
/** Most characters of all their names and inline maps together. */
const namesCharactersMax = 300_000_000
/** File names in the error for an unknown one. */
const nearMax = 5
/** Maps that are read before they are asked for. */
const mapsMax = 200
const mapMs = 5000

export class Scripts {
  readonly #cdp: Cdp
  readonly #byId = new Map<string, Script>()
  readonly #maps = new Map<string, Promise<SourceMap | null>>()
  readonly #sources: string[] = []
  #characters = 0

  constructor(cdp: Cdp) {
    this.#cdp = cdp
    cdp.on('Debugger.scriptParsed', ({ scriptId, url, sourceMapURL, endLine }) => {
      this.#characters += url.length + (sourceMapURL?.length ?? 0)
      if (url === '' || this.#byId.size >= scriptsMax || this.#characters > namesCharactersMax) return
      this.#byId.set(scriptId, { id: scriptId, url, mapUrl: sourceMapURL ?? '', lines: endLine + 1 })
    })
  }

  /** Empty for what has no name. */
  urlOf(scriptId: string): string {
    return this.#byId.get(scriptId)?.url ?? ''
  }

  /** Where a place of what runs (lines and columns from 0) was written. */
  async written(scriptId: string, line: number, column: number): Promise<WrittenPlace> {
    const script = this.#byId.get(scriptId)
    const map = script === undefined ? null : await this.#mapOf(script)
    const place: SourcePlace = map?.original(line, column) ?? { source: script?.url ?? '', line }
    return { file: pathOf(place.source), line: place.line + 1 }
  }

  /** Where to stop for a line (from 1) of a file, named by its path or the end of it. Throws `debug.unknown-place`. */
  async running(file: string, line: number): Promise<RunningPlace> {
    const wanted = file.replace(/^\.\//, '')
    // The newest first: a file that was loaded again runs in its last form.
    const scripts = [...this.#byId.values()].toReversed()
    for (const script of scripts) {
      const map = script.mapUrl === '' ? null : await this.#mapOf(script)
      const source = map?.sources.find((candidate) => endsIn(pathOf(candidate), wanted))
      if (map !== null && source !== undefined) {
        const place = map.generated(source, line - 1)
        if (place === null) throw noStatement(file, line)
        return { url: script.url, lineNumber: place.line, columnNumber: place.column }
      }
      if (endsIn(pathOf(script.url), wanted)) {
        if (line > script.lines) throw noStatement(file, line)
        return { url: script.url, lineNumber: line - 1, columnNumber: 0 }
      }
    }
    throw unknownPlace(file, this.#own().slice(0, nearMax))
  }

  /** Reads the maps of the program's own files, so that what was written is known by name. */
  async readMaps(): Promise<void> {
    const own = [...this.#byId.values()].filter(({ url, mapUrl }) => mapUrl !== '' && !url.includes('/node_modules/'))
    for (const script of own.slice(0, mapsMax)) await this.#mapOf(script)
  }

  /** Paths of all files that are loaded, as they were written as far as that is known by now. */
  files(): readonly string[] {
    const urls = [...this.#byId.values()].map((script) => script.url).concat(this.#sources)
    return [...new Set(urls.filter((url) => url.startsWith('file://')).map(pathOf))]
  }

  /** The files of the program itself, without those of Node and of packages. */
  #own(): readonly string[] {
    const urls = [...this.#byId.values()].map((script) => script.url)
    return [...new Set(urls.filter((url) => url.startsWith('file://') && !url.includes('/node_modules/')).map(pathOf))]
  }

  #mapOf(script: Script): Promise<SourceMap | null> {
    if (script.mapUrl === '') return Promise.resolve(null)
    const known = this.#maps.get(script.id)
    if (known !== undefined) return known
    const found = this.#readMap(script).then((map) => {
      this.#sources.push(...(map?.sources ?? []))
      return map
    })
    this.#maps.set(script.id, found)
    return found
  }

  async #readMap({ url, mapUrl }: Script): Promise<SourceMap | null> {
    const inline = /^data:application\/json[^,]*?(;base64)?,(.*)$/s.exec(mapUrl)
    if (inline !== null) {
      const [, base64, body = ''] = inline
      const text = base64 === undefined ? decodeURIComponent(body) : Buffer.from(body, 'base64').toString()
      return parseSourceMap(text, url)
    }
    if (!URL.canParse(mapUrl, url)) return null
    const where = new URL(mapUrl, url).href
    if (!where.startsWith('file://')) return null
    const text = await this.#readThere(where).catch(() => null)
    return text === null ? null : parseSourceMap(text, where)
  }

  /** Reads a file as the process itself: with its rights, in its own tree of files, where no link leads out. */
  async #readThere(url: string): Promise<string | null> {
    const expression = `(() => {
      const { readFileSync, statSync } = process.getBuiltinModule('node:fs')
      const url = new URL(${JSON.stringify(url)})
      const { size } = statSync(url)
      return size > ${mapCharactersMax} ? null : readFileSync(url, 'utf8')
    })()`
    const { result } = await this.#cdp.call(
      'Runtime.evaluate',
      { expression, returnByValue: true, silent: true },
      mapMs,
    )
    return typeof result.value === 'string' ? result.value : null
  }
}

/** The path in a file URL; other names as they are. */
export function pathOf(url: string): string {
  if (!url.startsWith('file://')) return url
  try {
    return decodeURIComponent(new URL(url).pathname)
  } catch {
    return url
  }
}

function endsIn(path: string, end: string): boolean {
  return path === end || path.endsWith(end.startsWith('/') ? end : `/${end}`)
}
