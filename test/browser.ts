/** Headless Chromium for tests: the machine's own, driven by playwright-core. Invariant: it loads nothing but what the page asks for. */
import { existsSync } from 'node:fs'
import { type Browser, chromium } from 'playwright-core'

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
