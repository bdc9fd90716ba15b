/** Headless Chromium for tests: the machine's own, driven by playwright-core. Invariant: it loads nothing but what the page asks for. */
import { existsSync } from 'node:fs'
import { type Browser, type BrowserContext, chromium, type Page } from 'playwright-core'

const path = '/usr/bin/chromium'

/** Chromium, or the reason to skip. */
export function needsChromium(): string | false {
  return existsSync(path) ? false : `needs ${path}: apt-get install -y chromium`
}

export function openBrowser(): Promise<Browser> {
  return chromium.launch({
    executablePath: path,
    args: [
      '--headless',
      '--no-sandbox',
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
    ],
  })
}

/** A page in a context of its own. */
export interface OpenPage extends AsyncDisposable {
  readonly page: Page
  /** What its browser complained about. */
  readonly complaints: readonly string[]
}

export async function openPage(
  browser: Browser,
  options: Parameters<Browser['newContext']>[0] = {},
): Promise<OpenPage> {
  const context: BrowserContext = await browser.newContext({ viewport: { width: 1280, height: 900 }, ...options })
  context.setDefaultTimeout(30_000)
  const page: Page = await context.newPage()
  const complaints: string[] = []
  page.on('console', (message) => {
    if (['error', 'warning'].includes(message.type())) complaints.push(`${message.text()} ${message.location().url}`)
  })
  page.on('pageerror', (error) => complaints.push(error.message))
  page.on('dialog', (dialog) => {
    complaints.push(`a dialog: ${dialog.message()}`)
    void dialog.dismiss()
  })
  return { page, complaints, [Symbol.asyncDispose]: () => context.close() }
}
