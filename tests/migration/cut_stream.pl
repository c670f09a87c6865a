# cut_stream.pl PATH: end the connections between two QEMUs that meet at a unix socket PATH or PATH.home, as a
# network between them would: both ends read the end of the stream, and can write no more.
use strict;
use warnings;

my ($PIDFD_OPEN, $PIDFD_GETFD, $CONNECTED) = (434, 438, '03');
my $path = shift;
my @processes = grep { is_qemu($_) } glob '/proc/[0-9]*';
# An accepted socket bears the path, and is listed in the network namespace of the other end.
my %inodes;
for my $process (@processes) {
    open my $sockets, '<', "$process/net/unix" or next;
    while (<$sockets>) {
        my (undef, undef, undef, undef, undef, $state, $inode, $name) = split;
        next unless defined $name;
        $inodes{$inode} = 1 if $state eq $CONNECTED && ($name eq $path || $name eq "$path.home");
    }
}
my $cut = 0;
for my $process (@processes) {
    my ($pid) = $process =~ /(\d+)$/;
    my $pidfd = syscall $PIDFD_OPEN, $pid + 0, 0;
    for my $file (glob "$process/fd/*") {
        my ($inode) = (readlink $file // '') =~ /^socket:\[(\d+)\]$/ or next;
        next unless $inodes{$inode};
        my ($number) = $file =~ /(\d+)$/;
        my $own = syscall $PIDFD_GETFD, $pidfd, $number + 0, 0;
        open my $socket, '+<&=', $own or die "socket $inode: $!";
        shutdown $socket, 2 or die "socket $inode: $!";
        $cut++;
    }
}
die "no connection at $path\n" unless $cut;

sub is_qemu {
    open my $comm, '<', "$_[0]/comm" or return 0;
    return <$comm> =~ /^qemu-system/;
}
