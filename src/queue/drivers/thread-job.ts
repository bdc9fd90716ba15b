/** Which driver a thread opens, as data that can be handed to it. */
import type { EmbeddedFileOptions } from './embedded-host.ts'

export type ThreadJob = { readonly driver: 'embedded'; readonly options: EmbeddedFileOptions }
