/**
 * The page of a failed request, pure: the way from the client to what the part uses, with the hop that failed, what to do,
 * and the ids to find it by. Invariants: every text from outside is escaped; no script, no other file, no inline style, and
 * the policy that is sent along allows nothing but the one style sheet, by its digest.
 */
import { createHash } from 'node:crypto'
import type { DrawnHop, Mark, Way } from './hops.ts'

/** What the page says. */
export interface PageContent {
  readonly status: number
  readonly reason: string
  readonly title: string
  readonly sentences: readonly string[]
  readonly way: Way
  readonly cause: string
  /** For whoever runs the app: commands that show more. */
  readonly commands: readonly string[]
  readonly requestId: string
  /** Null when it is the request id. */
  readonly traceId: string | null
  readonly timeMs: number | null
  /** Since when the health is no longer told, milliseconds since 1970; null when it is. */
  readonly staleSinceMs: number | null
  /** The page asks again by itself after this. */
  readonly reloadS: number | null
}

const style = `:root{color-scheme:light dark;--paper:#f3f5f8;--card:#fff;--ink:#17202b;--soft:#5a6878;--line:#d6dde5;--bad:#b42318;--bad-bg:#fef1f0;--warn:#8f5300;--warn-bg:#fff6e5;--good:#157347;--good-bg:#edf8f2}
@media(prefers-color-scheme:dark){:root{--paper:#0e1319;--card:#161d26;--ink:#e9eef4;--soft:#9aa9b9;--line:#2c3744;--bad:#ff9188;--bad-bg:#341a1b;--warn:#f5c26b;--warn-bg:#2f2614;--good:#6fd6a4;--good-bg:#142a22}}
*{box-sizing:border-box}
body{margin:0;min-height:100vh;display:flex;justify-content:center;padding:clamp(1rem,6vh,5rem) 1rem;background:var(--paper);color:var(--ink);font:1rem/1.55 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",sans-serif;-webkit-text-size-adjust:100%}
main{width:100%;max-width:56rem;align-self:flex-start}
h1{font-size:clamp(1.4rem,1.1rem + 1.6vw,2rem);line-height:1.2;letter-spacing:-.015em;margin:.9rem 0 .6rem;text-wrap:balance;overflow-wrap:anywhere}
p{margin:.4rem 0;max-width:42rem;overflow-wrap:anywhere}
.status{display:inline-block;padding:.15rem .65rem;border:1px solid var(--line);border-radius:99px;background:var(--card);color:var(--soft);font-size:.85rem;font-variant-numeric:tabular-nums}
.status b{color:var(--ink);font-weight:650}
.finding{font-weight:600}
.way{display:flex;align-items:center;margin:2rem 0;padding:1.6rem 1.4rem;border:1px solid var(--line);border-radius:14px;background:var(--card)}
ol,ul{list-style:none;margin:0;padding:0}
ol{display:flex;align-items:center;flex:1 1 auto;min-width:0}
ol>li{display:flex;align-items:center;flex:1 1 0;min-width:0}
ol>li:first-child{flex:0 1 auto}
.used{flex:0 1 auto;min-width:0;display:grid;gap:.7rem}
.used>li{position:relative;display:flex;align-items:center;min-width:0}
.stem{flex:0 0 1.6rem;border-top:2px var(--dash,solid) var(--edge,var(--line))}
.used>li::before{content:"";position:absolute;left:0;top:-.35rem;bottom:-.35rem;border-left:2px solid var(--line)}
.used>li:first-child::before{top:50%}.used>.last::before{bottom:50%}.used>li>.hop{flex:1}.used>.more::before{display:none}
.hop{position:relative;flex:0 1 auto;min-width:6.6rem;max-width:13rem;padding:.7rem .8rem;border:1.5px solid var(--line);border-radius:11px;background:var(--card)}
.hop b{display:block;font-weight:650;line-height:1.25;overflow-wrap:anywhere}
.hop small{display:block;color:var(--soft);font-size:.78rem;line-height:1.3}
.hop span{display:flex;gap:.35rem;align-items:center;margin-top:.3rem;font-size:.84rem;line-height:1.25;color:var(--soft)}
.hop svg{flex:none;width:.95rem;height:.95rem;fill:none;stroke:currentColor;stroke-width:2;stroke-linecap:round;stroke-linejoin:round}
.edge{flex:1 1 1.5rem;min-width:1.5rem;border-top:2px var(--dash,solid) var(--edge,var(--line))}
.used .edge{flex:0 0 1.8rem}
.fine{--edge:var(--good)}.failed{--edge:var(--bad);--dash:dashed}.affected{--edge:var(--warn)}.unsure,.unreached{--dash:dashed}
.reached{--edge:var(--good);--dash:solid}
.fine>.hop{border-color:color-mix(in srgb,var(--good) 45%,var(--line))}.fine>.hop span{color:var(--good)}
.failed>.hop{border-color:var(--bad);background:var(--bad-bg)}.failed>.hop span{color:var(--bad);font-weight:650}
.affected>.hop{border-color:var(--warn);background:var(--warn-bg)}.affected>.hop span{color:var(--warn);font-weight:600}
.unsure>.hop span{color:var(--warn)}
.unreached>.hop{border-style:dashed;color:var(--soft)}
.used>.more{padding-left:1.8rem;color:var(--soft);font-size:.84rem}
details{margin:1.3rem 0;max-width:42rem}
summary{cursor:pointer;color:var(--soft)}
code,dd{font:.86rem/1.5 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace}
pre{margin:.6rem 0;padding:.7rem .9rem;border:1px solid var(--line);border-radius:9px;background:var(--card);overflow-x:auto}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.1rem 1rem;margin:1.6rem 0 0;color:var(--soft);font-size:.86rem}
dt,dd{margin:0}dd{overflow-wrap:anywhere}
.stale{color:var(--warn)}
@media(max-width:47rem){.way{display:block;padding:1.1rem}
ol,ol>li{display:block}.hop,.used .hop{max-width:none;display:grid;grid-template-columns:1fr auto;column-gap:1rem;align-items:center}
.hop span{grid-column:2;grid-row:1/span 2;margin:0;text-align:right}.hop small{grid-column:1}
.edge{width:0;height:1.3rem;min-width:0;margin-left:1.4rem;border-top:0;border-left:2px var(--dash,solid) var(--edge,var(--line))}
.stem{display:none}.used{margin-left:1.4rem;gap:0}.used>li{padding:.9rem 0 0}
.used>li::before,.used>li:first-child::before{top:0;bottom:0}.used>.last::before{bottom:auto;height:calc(50% + .45rem)}
.used .edge{flex:0 0 1.1rem;width:auto;height:0;margin:0;border-left:0;border-top:2px var(--dash,solid) var(--edge,var(--line))}
.used>.more{padding:.7rem 0 0 1.1rem}}`

const styleDigest = createHash('sha256').update(style).digest('base64')

/** Headers that go with the page. */
export const pageHeaders: readonly string[] = [
  'content-security-policy',
  `default-src 'none'; style-src 'sha256-${styleDigest}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`,
  'x-content-type-options',
  'nosniff',
  'referrer-policy',
  'no-referrer',
]

/** Text as text, wherever it stands. Control characters would only confuse who reads it. */
export function escapeHtml(value: string): string {
  return value
    .replaceAll(/\p{Cc}|\p{Cf}/gu, '\u{fffd}')
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;')
    .replaceAll("'", '&#39;')
}

const icons: Readonly<Record<Mark, string>> = {
  fine: '<path d="M3 8.5 6.5 12 13 4.5"/>',
  failed: '<path d="m4 4 8 8M12 4l-8 8"/>',
  affected: '<path d="M8 3v6M8 12.5v.1"/>',
  unsure: '<path d="M5.5 6a2.5 2.5 0 1 1 2.5 2.5V10M8 13v.1"/>',
  unreached: '<path d="M4 8h8"/>',
}

function hop({ kind, name, type, mark, said }: DrawnHop, edge: boolean, last = false): string {
  const lead = edge ? `<div class="edge${kind === 'gateway' ? ' reached' : ''}"></div>` : ''
  const what = type === '' ? (kind === 'part' ? 'app' : kind === 'you' ? 'client' : 'the way in') : type
  return `<li class="${mark}${last ? ' last' : ''}">${lead}<div class="hop"><b>${escapeHtml(name)}</b><small>${escapeHtml(what)}</small><span><svg viewBox="0 0 16 16" aria-hidden="true">${icons[mark]}</svg>${escapeHtml(said)}</span></div></li>`
}

function drawing({ line, used, more }: Way): string {
  const rest = more === 0 ? '' : `<li class="more">and ${more} more</li>`
  const fan =
    used.length === 0
      ? ''
      : `<div class="stem${used.length === 1 ? ` ${used[0]?.mark}` : ''}"></div><ul class="used" aria-label="What it uses">${used.map((one, i) => hop(one, true, i === used.length - 1)).join('')}${rest}</ul>`
  return `<div class="way"><ol aria-label="The way of the request">${line.map((one, i) => hop(one, i > 0)).join('')}</ol>${fan}</div>`
}

function moment(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, 19).replace('T', ' ')} UTC`
}

/** The whole page. */
export function renderPage(content: PageContent): string {
  const { status, reason, title, sentences, way, cause, commands, requestId, traceId, timeMs, staleSinceMs } = content
  const reload = content.reloadS === null ? '' : `<meta http-equiv="refresh" content="${content.reloadS}">`
  const facts = [
    ['cause', cause],
    ['request', requestId],
    ...(traceId === null ? [] : [['trace', traceId]]),
    ...(timeMs === null ? [] : [['time', moment(timeMs)]]),
  ]
  const stale =
    staleSinceMs === null
      ? ''
      : `<p class="stale">The control plane has been out of reach since ${moment(staleSinceMs)}: the states shown are the last that were known.</p>`
  const more =
    commands.length === 0
      ? ''
      : `<details><summary>If you run this app</summary><pre><code>${commands.map(escapeHtml).join('\n')}</code></pre></details>`
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1"><meta name="robots" content="noindex">${reload}
<title>${status} ${escapeHtml(title)}</title><style>${style}</style></head>
<body><main>
<div class="status"><b>${status}</b> ${escapeHtml(reason)}</div>
<h1>${escapeHtml(title)}</h1>
${way.finding === null ? '' : `<p class="finding">${escapeHtml(way.finding)}</p>\n`}${sentences.map((sentence) => `<p>${escapeHtml(sentence)}</p>`).join('\n')}
${drawing(way)}
${stale}${more}
<dl>${facts.map(([name = '', value = '']) => `<dt>${name}</dt><dd>${escapeHtml(value)}</dd>`).join('')}</dl>
</main></body></html>
`
}
