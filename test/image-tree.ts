/** A root tree for tests of images: the small programs of this machine, and a server in Perl that tells what it sees. */
import { spawnSync } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { hostLayer } from '../src/sandbox/layer.conformance.ts'
import { needsAll, needsFile, needsRoot } from './needs.ts'

/** What running images needs here. */
export function needsImages(): string | false {
  return needsAll(
    needsRoot(),
    needsFile('/usr/bin/bwrap', 'apt-get install bubblewrap'),
    needsFile('/usr/bin/perl', 'apt-get install perl-base'),
  )
}

const server = `
use IO::Socket::INET; $| = 1;
$SIG{QUIT} = sub { print "asked to quit\\n"; exit 0 }; $SIG{TERM} = 'IGNORE';
my $door = IO::Socket::INET->new(LocalPort => $ENV{PORT}, Listen => 9, ReuseAddr => 1) or die "no port: $!";
print "serves as $<\\n";
sub try { my ($path) = @_; open(my $file, '>', $path) ? 'written' : "$!" }
while (my $who = $door->accept) {
  my $line = <$who>; while (my $more = <$who>) { last if $more =~ /^\\r?\\n$/ }
  my ($path) = $line =~ m{ (\\S+) };
  my $said = $path eq '/other' ? do {
    my $other = IO::Socket::INET->new(PeerHost => 'other', PeerPort => $ENV{OTHER_PORT}) or die "no other: $!";
    print $other "GET / HTTP/1.0\\r\\n\\r\\n"; local $/; <$other> =~ /\\r\\n\\r\\n(.*)/s; $1
  } : join('|', "user $<", "in " . do { use Cwd; getcwd() }, "mode $ENV{MODE}", "root " . try('/new'), "data " . try('/data/new'),
      "host " . (-e '/home' || -e '/usr/share/doc' ? 'seen' : 'hidden'));
  print $who "HTTP/1.1 200 OK\\r\\nContent-Length: " . length($said) . "\\r\\nConnection: close\\r\\n\\r\\n$said"; close $who;
}
`

/** Fills a directory. */
export function imageTree(directory: string): void {
  mkdirSync(directory, { recursive: true })
  hostLayer(directory)
  const { stdout } = spawnSync('ldd', ['/usr/bin/perl'], { encoding: 'utf8', env: { PATH: '/usr/bin:/bin' } })
  const libraries = [...stdout.matchAll(/(?:=> |^\s*)(\/\S+) \(0x/gm)].map((found) => found[1] ?? '')
  const modules = readdirSync('/usr/lib', { withFileTypes: true })
    .map(({ name }) => `/usr/lib/${name}/perl-base`)
    .filter((path) => existsSync(path))
  for (const source of ['/usr/bin/perl', ...libraries, ...modules]) {
    const target = join(directory, source)
    mkdirSync(dirname(target), { recursive: true })
    if (!existsSync(target)) cpSync(source, target, { recursive: true, dereference: true })
  }
  mkdirSync(join(directory, 'srv'))
  writeFileSync(join(directory, 'srv/server.pl'), server)
}

/** The options of `stead image build` for such a tree. */
export const imageOptions: readonly string[] = (
  '--workdir /srv --user app --env MODE=plain --port 8080 --volume /data ' +
  '--entrypoint ["/usr/bin/perl","server.pl"]'
).split(' ')
