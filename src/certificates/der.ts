/**
 * Writing DER (X.690), as much of it as certificates need; nothing is read here. Keys and signatures come ready from
 * node:crypto, so what is left are tags and lengths.
 */

export type Der = Uint8Array

/** One value: a tag, its length, its content. */
function tagged(tag: number, ...content: readonly Der[]): Der {
  const body = Buffer.concat(content)
  if (body.length < 0x80) return Buffer.concat([Buffer.from([tag, body.length]), body])
  const length = bigEndian(body.length)
  return Buffer.concat([Buffer.from([tag, 0x80 | length.length]), length, body])
}

function bigEndian(value: number): Der {
  const bytes: number[] = []
  for (let rest = value; rest > 0; rest = Math.floor(rest / 256)) bytes.unshift(rest % 256)
  return Uint8Array.from(bytes)
}

export function sequence(...content: readonly Der[]): Der {
  return tagged(0x30, ...content)
}

export function set(...content: readonly Der[]): Der {
  return tagged(0x31, ...content)
}

/** A whole number that is not negative, from its bytes, most significant first. */
export function integer(bytes: Der): Der {
  const first = bytes.findIndex((byte) => byte !== 0)
  const shortest = first === -1 ? Uint8Array.of(0) : bytes.subarray(first)
  return tagged(0x02, ...((shortest[0] ?? 0) >= 0x80 ? [Uint8Array.of(0)] : []), shortest)
}

export function boolean(value: boolean): Der {
  return tagged(0x01, Uint8Array.of(value ? 0xff : 0))
}

/** An object identifier in dots, as in `2.5.29.17`. */
export function oid(dotted: string): Der {
  const [first = 0, second = 0, ...rest] = dotted.split('.').map(Number)
  const groups = [first * 40 + second, ...rest].map((arc) => {
    const bytes = [arc & 0x7f]
    for (let left = arc >>> 7; left > 0; left >>>= 7) bytes.unshift(0x80 | (left & 0x7f))
    return Uint8Array.from(bytes)
  })
  return tagged(0x06, ...groups)
}

export function utf8(text: string): Der {
  return tagged(0x0c, Buffer.from(text))
}

export function octets(content: Der): Der {
  return tagged(0x04, content)
}

/** Bits; the last `unused` of them do not count. */
export function bits(content: Der, unused = 0): Der {
  return tagged(0x03, Uint8Array.of(unused), content)
}

/** A moment, to the second. Years before 2050 have two digits, as RFC 5280 asks. */
export function time(ms: number): Der {
  const digits = new Date(ms)
    .toISOString()
    .replace(/\.\d+Z$/, '')
    .replace(/\D/g, '')
  const short = digits < '2050'
  return tagged(short ? 0x17 : 0x18, Buffer.from(`${short ? digits.slice(2) : digits}Z`))
}

/** A value that has its place in the context instead of a type: `[n]`, holding others or bare bytes. */
export function context(n: number, ...content: readonly Der[]): Der {
  return tagged(0xa0 | n, ...content)
}

export function bareContext(n: number, content: Der): Der {
  return tagged(0x80 | n, content)
}

/** The text form: base 64 in lines of 64, between two lines that name what it is. */
export function toPem(label: string, der: Der): string {
  const lines = Buffer.from(der)
    .toString('base64')
    .replace(/.{64}(?=.)/g, '$&\n')
  return `-----BEGIN ${label}-----\n${lines}\n-----END ${label}-----\n`
}
