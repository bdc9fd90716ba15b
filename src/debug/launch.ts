/** What editors are told to reach a debugger's port. Pure. */
import type { Json } from '../base/index.ts'

export interface LaunchTarget {
  /** For a person: `process 4711`. */
  readonly name: string
  readonly language: string
  readonly port: number
  /** Where the files lie here and where the process sees them, when these are not the same. */
  readonly roots: { readonly local: string; readonly remote: string } | null
}

/** VS Code's name for the kind of program, which decides where breakpoints can be set. */
const vscodeTypes: Readonly<Record<string, string>> = {
  node: 'node',
  python: 'debugpy',
  ruby: 'rdbg',
  native: 'cppdbg',
}

/** One entry of `configurations` in `.vscode/launch.json`. With `debugServer` the editor connects instead of starting an adapter. */
export function vscodeConfiguration({ name, language, port, roots }: LaunchTarget): Readonly<Record<string, Json>> {
  return {
    type: vscodeTypes[language] ?? language,
    request: 'attach',
    name: `stead: ${name}`,
    debugServer: port,
    ...(roots === null ? {} : { localRoot: roots.local, remoteRoot: roots.remote }),
  }
}

/** For nvim-dap, as a line of Lua. */
export function neovimConfiguration({ name, language, port, roots }: LaunchTarget): string {
  const more = roots === null ? '' : `, localRoot = ${lua(roots.local)}, remoteRoot = ${lua(roots.remote)}`
  const server = `{ type = 'server', host = '127.0.0.1', port = ${port} }`
  return `:lua local d = require('dap'); d.adapters.stead = ${server}; d.run({ type = 'stead', request = 'attach', name = ${lua(`${name} (${language})`)}${more} })`
}

function lua(text: string): string {
  return `'${text.replaceAll(/[\\']/g, (char) => `\\${char}`)}'`
}

/** For Emacs with dap-mode, as what is typed after `M-:`. */
export function emacsConfiguration({ name, language, port, roots }: LaunchTarget): string {
  const more = roots === null ? '' : ` :localRoot ${lisp(roots.local)} :remoteRoot ${lisp(roots.remote)}`
  const attach = `:type ${lisp(language)} :request "attach" :name ${lisp(`stead: ${name}`)} :host "127.0.0.1" :debugServer ${port}`
  return `(progn (require 'dap-ui) (dap-start-debugging (list ${attach}${more})))`
}

function lisp(text: string): string {
  return `"${text.replaceAll(/[\\"]/g, (char) => `\\${char}`)}"`
}

/** For JetBrains' IDEs with the plugin LSP4IJ, which speaks the protocol. */
export function jetbrainsConfiguration({ port }: LaunchTarget): string {
  return `Run > Edit Configurations > + > Debug Adapter Protocol: connect to 127.0.0.1 port ${port}, attach (plugin LSP4IJ)`
}

/**
 * `.vscode/launch.json` with the configuration put in, in place of the one with the same name. Null when the text cannot be
 * read: it may hold comments, which would be lost.
 */
export function mergedLaunchFile(text: string | null, configuration: Readonly<Record<string, Json>>): string | null {
  const file = text === null ? { version: '0.2.0' } : objectIn(text)
  if (file === null) return null
  const { configurations: old = [] } = file
  if (!Array.isArray(old)) return null
  const others = old.filter((entry) => !(isObject(entry) && entry['name'] === configuration['name']))
  return `${JSON.stringify({ ...file, configurations: [...others, configuration] }, null, 2)}\n`
}

function objectIn(text: string): Record<string, unknown> | null {
  try {
    const value: unknown = JSON.parse(text)
    return isObject(value) ? { ...value } : null
  } catch {
    return null
  }
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
