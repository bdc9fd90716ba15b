/** Links to invoices: URLs of S3, signed with a key that may do nothing but that. Whoever has one can fetch its invoice for a while. */
import { createHash, createHmac } from 'node:crypto'

const lifeSeconds = 900

/** Where visitors reach the bucket, seen from the host and port under which they see the shop. */
function originOf(shop: string, scheme: string): URL {
  return new URL(`${scheme}://${shop.replace('shop.localhost', 'invoices.localhost')}`)
}

/** The link to an invoice. `host` is what the visitor asked for, `scheme` how. */
export function invoiceLink(order: string, host: string, scheme: string): string {
  const { AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION, BUCKET_NAME } = process.env
  const url = originOf(host, scheme)
  url.pathname = `/${BUCKET_NAME}/${order}.txt`
  const now = new Date().toISOString().replace(/[-:]|\.\d+/g, '')
  const day = now.slice(0, 8)
  const scope = `${day}/${AWS_REGION}/s3/aws4_request`
  const query = [
    ['X-Amz-Algorithm', 'AWS4-HMAC-SHA256'],
    ['X-Amz-Credential', `${AWS_ACCESS_KEY_ID}/${scope}`],
    ['X-Amz-Date', now],
    ['X-Amz-Expires', String(lifeSeconds)],
    ['X-Amz-SignedHeaders', 'host'],
  ]
    .map(([name = '', value = '']) => `${name}=${encodeURIComponent(value)}`)
    .join('&')
  const request = `GET\n${url.pathname}\n${query}\nhost:${url.host}\n\nhost\nUNSIGNED-PAYLOAD`
  const digest = createHash('sha256').update(request).digest('hex')
  const key = [day, AWS_REGION, 's3', 'aws4_request'].reduce<string | Buffer>(
    (last, word) => createHmac('sha256', last).update(`${word}`).digest(),
    `AWS4${AWS_SECRET_ACCESS_KEY}`,
  )
  const signature = createHmac('sha256', key).update(`AWS4-HMAC-SHA256\n${now}\n${scope}\n${digest}`).digest('hex')
  return `${url.href}?${query}&X-Amz-Signature=${signature}`
}
