/** The systemd unit of the daemon, as text. Pure. */

/** `command`: absolute path of the `stead` to run, and its arguments. */
export function unitOf(command: readonly string[], environment: Readonly<Record<string, string>>): string {
  const lines = Object.entries(environment).map(([name, value]) => `Environment=${quoted(`${name}=${value}`)}`)
  return `[Unit]
Description=Stead: applications that have state
After=network-online.target local-fs.target
Wants=network-online.target

[Service]
Type=exec
ExecStart=${command.map(quoted).join(' ')}
# Takes up a new version of Stead without a lost request.
ExecReload=/bin/kill -HUP $MAINPID
# Stopping or losing Stead stops none of the apps: \`stead down APP\` does that.
KillMode=process
Restart=always
RestartSec=200ms
# Limit groups of the apps are Stead's own.
Delegate=yes
LimitNOFILE=1048576
TimeoutStopSec=15
${lines.map((line) => `${line}\n`).join('')}
[Install]
WantedBy=multi-user.target
`
}

/** A word as systemd reads it: quoted where it must be, with its specifiers and variables taken literally. */
function quoted(word: string): string {
  const literal = word.replaceAll('%', '%%').replaceAll('$', '$$$$')
  return /^[A-Za-z0-9_./:=@,+%-]+$/.test(literal) ? literal : `"${literal.replace(/["\\]/g, '\\$&')}"`
}
