# traffic.pl PEER SECONDS, in the peer's namespace: take a stream at port 9001, until SIGINT or SIGTERM; print
# each SECONDS when, in seconds of the host's clock, and the bytes so far.
use strict;
use Socket;
$| = 1;
my ($peer, $every) = @ARGV;
my $ended = 0;
$SIG{INT} = $SIG{TERM} = sub { $ended = 1 };

sub now {
    my $time = pack 'q2', 0, 0;
    syscall 228, 0, $time;    # clock_gettime on x86-64
    my ($seconds, $nanos) = unpack 'q2', $time;
    return $seconds + $nanos / 1e9;
}

my ($next, $bytes) = (now(), 0);
socket my $listener, PF_INET, SOCK_STREAM, 0 or die "socket: $!\n";
setsockopt $listener, SOL_SOCKET, SO_REUSEADDR, 1;
bind $listener, sockaddr_in(9001, inet_aton($peer)) or die "bind: $!\n";
listen $listener, 1;
my $stream;
while (!$ended) {
    my $now = now();
    if ($now >= $next) {
        printf "%.6f %d\n", $now, $bytes;
        $next += $every while $next <= $now;
    }
    my $from = $stream || $listener;
    my $ready = '';
    vec($ready, fileno $from, 1) = 1;
    my $left = $next - now();
    next if select($ready, undef, undef, $left > 0 ? $left : 0) < 1;
    if (!$stream) {
        accept $stream, $listener or die "accept: $!\n";
        next;
    }
    my $count = sysread $stream, my $data, 262144;
    last if !$count;
    $bytes += $count;
}
