/**
 * XML as S3 uses it: elements with text or children, attributes only for namespaces and types. The reader refuses document
 * types, processing instructions and unknown entities, so there is nothing to expand; depth and number of elements are
 * limited.
 */
import { S3Failure } from './failure.ts'

/** Elements in one document; a completed upload of 10,000 parts has some 80,000. */
export const xmlElementsMax = 120_000
const depthMax = 12

/** One element as it was read. Names are without their prefix. */
export interface XmlElement {
  readonly name: string
  readonly attributes: Readonly<Record<string, string>>
  readonly children: readonly XmlElement[]
  /** The text of an element without children, entities resolved, not trimmed. */
  readonly text: string
}

/** What can be written: text, a number or truth, children by name, or several of one name. Undefined is left out. */
export type XmlValue = string | number | boolean | undefined | XmlTree | readonly (string | XmlTree)[]
/** Children by name in their order. The key `@` holds attributes as they are written. */
export interface XmlTree {
  readonly [name: string]: XmlValue
}

const namespace = 'http://s3.amazonaws.com/doc/2006-03-01/'

/** Text of a document with the namespace of S3. */
export function writeXml(name: string, tree: XmlTree): string {
  return `<?xml version="1.0" encoding="UTF-8"?>\n<${name} xmlns="${namespace}">${childrenOf(tree)}</${name}>`
}

/** Text of a document without a namespace: an error, or the answer to a form. */
export function writePlainXml(name: string, tree: XmlTree): string {
  return `<?xml version="1.0" encoding="UTF-8"?>\n<${name}>${childrenOf(tree)}</${name}>`
}

function childrenOf(tree: XmlTree): string {
  let text = ''
  for (const name of Object.keys(tree)) if (name !== '@') text += elementOf(name, tree[name])
  return text
}

function elementOf(name: string, value: XmlValue): string {
  if (value === undefined) return ''
  if (typeof value === 'string') return `<${name}>${escapeXml(value)}</${name}>`
  if (typeof value === 'number' || typeof value === 'boolean') return `<${name}>${value}</${name}>`
  if (isList(value)) return value.map((item) => elementOf(name, item)).join('')
  const attributes = value['@']
  const opened = typeof attributes === 'string' ? `${name} ${attributes}` : name
  return `<${opened}>${childrenOf(value)}</${name}>`
}

function isList(value: XmlTree | readonly (string | XmlTree)[]): value is readonly (string | XmlTree)[] {
  return Array.isArray(value)
}

const escapes: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
}

/** Text inside an element. Control characters become references, as S3 writes them. */
export function escapeXml(text: string): string {
  // eslint-disable-next-line no-control-regex
  return text.replace(/[&<>"\u0000-\u0008\u000b-\u001f\ufffe\uffff]/g, (found) => {
    return escapes[found] ?? `&#x${found.charCodeAt(0).toString(16)};`
  })
}

const token =
  /<!--[\s\S]*?-->|<!\[CDATA\[([\s\S]*?)\]\]>|<\?xml[^>]*\?>|<(\/?)([\w.:-]+)((?:\s+[\w.:-]+\s*=\s*(?:"[^"<]*"|'[^'<]*'))*)\s*(\/?)>|[^<]+/y

interface Open {
  readonly name: string
  readonly attributes: Readonly<Record<string, string>>
  readonly children: XmlElement[]
  text: string
}

/** Reads a document and checks the name of its root. Throws MalformedXML. */
export function readXml(source: string, rootName: string): XmlElement {
  const root = parse(source.startsWith('\ufeff') ? source.slice(1) : source)
  if (root.name !== rootName) throw malformed(`expected <${rootName}>, found <${root.name}>`)
  return root
}

function parse(source: string): XmlElement {
  const stack: Open[] = []
  let root: XmlElement | undefined
  let elements = 0
  token.lastIndex = 0
  while (token.lastIndex < source.length) {
    const at = token.lastIndex
    const match = token.exec(source)
    if (match === null) throw malformed(`something that is no XML at character ${at}`)
    const [whole, cdata, slash, name, attributes = '', empty] = match
    const top = stack.at(-1)
    if (name === undefined) {
      const text = cdata ?? (whole.startsWith('<') ? '' : unescape(whole))
      if (top !== undefined) top.text += text
      else if (text.trim() !== '') throw malformed('text outside of the document')
    } else if (slash === '/') {
      if (top === undefined || top.name !== localName(name)) throw malformed(`</${name}> closes nothing`)
      stack.pop()
      root = close(top, stack, root)
    } else {
      elements += 1
      if (elements > xmlElementsMax || stack.length >= depthMax) throw malformed('too many elements')
      if (stack.length === 0 && root !== undefined) throw malformed('a second root')
      const opened = { name: localName(name), attributes: attributesOf(attributes), children: [], text: '' }
      if (empty === '/') root = close(opened, stack, root)
      else stack.push(opened)
    }
  }
  if (root === undefined || stack.length > 0) throw malformed('the document ends early')
  return root
}

function close(element: Open, stack: readonly Open[], root: XmlElement | undefined): XmlElement | undefined {
  const parent = stack.at(-1)
  if (parent === undefined) return element
  parent.children.push(element)
  return root
}

function attributesOf(source: string): Record<string, string> {
  const found: [string, string][] = []
  for (const [, name = '', double, single] of source.matchAll(/([\w.:-]+)\s*=\s*(?:"([^"]*)"|'([^']*)')/g)) {
    found.push([localName(name), unescape(double ?? single ?? '')])
  }
  return Object.fromEntries(found)
}

function localName(name: string): string {
  return name.slice(name.indexOf(':') + 1)
}

const entities: Readonly<Record<string, string>> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'" }

function unescape(text: string): string {
  return text.replace(/&([^;]{0,10};?)/g, (_, body: string) => {
    const [, hex, decimal, name] = /^(?:#x([0-9a-fA-F]{1,6})|#([0-9]{1,7})|([a-z]+));$/.exec(body) ?? []
    const code = hex === undefined ? Number(decimal ?? Number.NaN) : Number.parseInt(hex, 16)
    if (code > 0 && code <= 0x10ffff && (code < 0xd800 || code > 0xdfff)) return String.fromCodePoint(code)
    const known = name === undefined ? undefined : entities[name]
    if (known === undefined) throw malformed('an unknown entity')
    return known
  })
}

/** The first child of a name. */
export function childOf(element: XmlElement | undefined, name: string): XmlElement | undefined {
  return element?.children.find((child) => child.name === name)
}

/** All children of a name. */
export function childrenNamed(element: XmlElement | undefined, name: string): readonly XmlElement[] {
  return element?.children.filter((child) => child.name === name) ?? []
}

/** The text of the first child of a name, trimmed; undefined where it is not there. */
export function textOf(element: XmlElement | undefined, name: string): string | undefined {
  return childOf(element, name)?.text.trim()
}

/** The text of a child that must be there. Throws MalformedXML. */
export function requiredText(element: XmlElement, name: string): string {
  const text = textOf(element, name)
  if (text === undefined) throw malformed(`<${name}> is missing in <${element.name}>`)
  return text
}

/** MalformedXML with what is wrong. */
export function malformed(what: string): S3Failure {
  return new S3Failure('MalformedXML', `The XML cannot be used: ${what}.`)
}
