/** The few drawings: kinds of parts, and what buttons do. All in one weight, in the colour of the text around them. */
import type { JSX } from 'preact'

const paths = {
  service: 'M4 5.5h12v4H4zM4 10.5h12v4H4zM6.5 7.5h.01M6.5 12.5h.01',
  job: 'M10 3.5a6.5 6.5 0 1 0 0 13 6.5 6.5 0 0 0 0-13zM10 6.5V10l2.5 1.5',
  database:
    'M4.5 5.5c0-1.1 2.5-2 5.5-2s5.5.9 5.5 2-2.5 2-5.5 2-5.5-.9-5.5-2zM4.5 5.5v9c0 1.1 2.5 2 5.5 2s5.5-.9 5.5-2v-9M4.5 10c0 1.1 2.5 2 5.5 2s5.5-.9 5.5-2',
  bucket:
    'M4.5 5.5c0-.8 2.5-1.5 5.5-1.5s5.5.7 5.5 1.5-2.5 1.5-5.5 1.5-5.5-.7-5.5-1.5zM4.5 5.5 6 15c.2.8 1.8 1.5 4 1.5s3.8-.7 4-1.5l1.5-9.5',
  secret: 'M7 9.5a3.2 3.2 0 1 1 2.9 3.2L8.5 14H7v1.5H5.5V17H3v-2.5l4.1-4.1M11.5 8.2h.01',
  queue: 'M3.5 6h9v8h-9zM3.8 6.3 8 10l4.2-3.7M14.5 7.5v5M17 8.5v3',
  resource: 'M10 3 16 6.3v7.4L10 17l-6-3.3V6.3zM4.2 6.4 10 9.6l5.8-3.2M10 9.6V17',
  world:
    'M10 3.5a6.5 6.5 0 1 0 0 13 6.5 6.5 0 0 0 0-13zM3.5 10h13M10 3.5c2 1.8 3 4 3 6.5s-1 4.7-3 6.5c-2-1.8-3-4-3-6.5s1-4.7 3-6.5z',
  restart: 'M15.5 8.5A6 6 0 1 0 16 11M16 4.5v4h-4',
  stop: 'M5.5 5.5h9v9h-9z',
  start: 'M6.5 4.5 15 10l-8.5 5.5z',
  kill: 'M11 3 5 11.5h4L8.5 17 15 8.5h-4.5z',
  cut: 'M6 4.5 14 12M14 4.5 6 12M5.5 16a2 2 0 1 0 0-4 2 2 0 0 0 0 4zM14.5 16a2 2 0 1 0 0-4 2 2 0 0 0 0 4z',
  disk: 'M3.5 12.5 5.5 5h9l2 7.5v3h-13zM3.5 12.5h13M13.5 14.2h.01',
  close: 'M5.5 5.5l9 9M14.5 5.5l-9 9',
  pause: 'M7.5 5v10M12.5 5v10',
  open: 'M8 5H5v10h10v-3M11 4.5h4.5V9M15 5l-6 6',
} as const

export type IconName = keyof typeof paths

export function Icon({ name, size = 18 }: { readonly name: IconName; readonly size?: number }): JSX.Element {
  return (
    <svg class="icon" viewBox="0 0 20 20" width={size} height={size} aria-hidden="true">
      <path d={paths[name]} />
    </svg>
  )
}

/** The drawing of a part. */
export function iconOf({ kind, type }: { readonly kind: string; readonly type: string | null }): IconName {
  if (kind === 'service' || kind === 'job') return kind
  if (type === 'postgres') return 'database'
  return type === 'secret' || type === 'queue' || type === 'bucket' ? type : 'resource'
}

/** The mark of the product. */
export function Mark(): JSX.Element {
  return (
    <svg class="mark" viewBox="0 0 32 32" width="26" height="26" aria-hidden="true">
      <rect width="32" height="32" rx="8" />
      <path d="M8 20.5 16 25l8-4.5M8 15.5 16 20l8-4.5M8 11l8-4 8 4-8 4.5z" />
    </svg>
  )
}
