/** How a word is made to stand out; the caller knows whether its stream can. */
export type Paint = (style: 'red' | 'yellow' | 'green' | 'dim' | 'bold', text: string) => string

/** Leaves words as they are. */
export const plainPaint: Paint = (_style, text) => text
