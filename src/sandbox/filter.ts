/**
 * What takes texts out of a program's output before it is kept: a program in Perl, which every Debian and macOS has, between
 * the output pipe and the logger; only for programs that were given something to hide. It loads no module: 1.2 MB for each of
 * several, what they share counted once. Pure.
 *
 * The texts stand in a file, one a line in hexadecimal. The file is looked at before every chunk, so that a text that is
 * added while the program runs counts from then on.
 *
 * Invariants: what goes on holds none of the texts, however the output was cut into chunks; everything else goes on
 * unchanged, in order and at once; it ends only when its input does, whatever signal a group gets; it holds no more than a
 * chunk and the longest text.
 */

/** What stands in the place of a text. */
export const filtered = '[secret]'

/** A Perl program; its argument is the path of the file. */
export const filterProgram: string = `
$SIG{$_} = 'IGNORE' for qw(TERM INT HUP);
my $interrupted = 4; # EINTR
my $path = shift; my ($stamp, $texts, @texts) = ('');
sub look {
  my @is = stat($path) or return;
  my $now = "$is[1] $is[7] $is[9]";
  return if $now eq $stamp;
  open(my $file, '<:raw', $path) or return;
  local $/; my $all = <$file>; close $file;
  @texts = sort { length($b) <=> length($a) } map { pack('H*', $_) } grep { length } split(/\\n/, $all);
  my $any = join('|', map { quotemeta } @texts);
  $texts = @texts ? qr/$any/s : undef;
  $stamp = $now;
}
sub open_at {
  my ($held, $from) = @_; my $length = length($$held); my $open = $length;
  for my $text (@texts) {
    my $first = substr($text, 0, 1);
    my $least = $length - length($text) + 1;
    my $at = index($$held, $first, $least > $from ? $least : $from);
    while ($at >= 0 && $at < $open) {
      if (substr($text, 0, $length - $at) eq substr($$held, $at)) { $open = $at; last }
      $at = index($$held, $first, $at + 1);
    }
  }
  return $open;
}
sub put { my ($out) = @_; my $at = 0;
  while ($at < length($out)) {
    my $written = syswrite(STDOUT, $out, length($out) - $at, $at);
    if (defined $written) { $at += $written } elsif ($! != $interrupted) { exit 1 }
  }
}
my $held = '';
while (1) {
  my $read = sysread(STDIN, $held, 65536, length($held));
  if (!defined $read) { next if $! == $interrupted; last }
  last if $read == 0;
  look();
  if (!defined $texts) { put($held); $held = ''; next }
  my ($from, $out) = (0, ''); my $open = open_at(\\$held, 0);
  pos($held) = 0;
  while ($held =~ /$texts/g) {
    last if $-[0] >= $open;
    $out .= substr($held, $from, $-[0] - $from) . '${filtered}';
    $from = $+[0];
    $open = open_at(\\$held, $from) if $from > $open;
  }
  put($out . substr($held, $from, $open - $from));
  $held = substr($held, $open);
}
look();
$held =~ s/$texts/${filtered}/g if defined $texts;
put($held);
`

/** The file of texts for the filter. */
export function filterFile(texts: Iterable<Uint8Array>): string {
  return [...texts].map((text) => `${Buffer.from(text).toString('hex')}\n`).join('')
}
