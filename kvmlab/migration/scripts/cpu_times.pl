# cpu_times.pl: until SIGINT or SIGTERM, read what the threads of QEMU, libvirt and vhost have run, five
# times a second: those of the source end with it. Threads that migrate end before, with most of what
# they ran in their last moments, and are read fifty times a second once they are known. Then print
# for each thread its number, the ns that it ran meanwhile, and its process's name / its own.
use strict;
my (%first, %last, %name, %migrating, $ended, $begun);
$SIG{INT} = $SIG{TERM} = sub { $ended = 1 };

sub text {
    open my $file, '<', $_[0] or return '';
    my $line = <$file>;
    chomp $line if defined $line;
    return $line // '';
}

sub threads { # of the processes that match
    my ($wanted) = @_;
    for my $process (glob '/proc/[0-9]*') {
        my $own = text("$process/comm");
        next if $own !~ $wanted;
        for my $thread (glob "$process/task/*") {
            my ($ran) = split ' ', text("$thread/schedstat") or next;
            my ($number) = $thread =~ m{(\d+)$};
            $first{$number} //= $begun ? 0 : $ran;    # a new thread counts in whole
            $last{$number} = $ran;
            $name{$number} = "$own/" . text("$thread/comm");
            $migrating{$number} = $thread if $name{$number} =~ m{/(mig|live_migration|multifd|postcopy)};
        }
    }
}

threads(qr/./);
$begun = 1;
for (my $turn = 1; !$ended; $turn++) {
    select undef, undef, undef, 0.02;
    for my $number (keys %migrating) {
        my ($ran) = split ' ', text("$migrating{$number}/schedstat") or next;
        $last{$number} = $ran;
    }
    threads(qr/^(qemu|vhost|libvirtd|rpc-)/) if $turn % 10 == 0;
}
threads(qr/./);
printf "%d %d %s\n", $_, $last{$_} - $first{$_}, $name{$_} for sort { $a <=> $b } keys %last;
