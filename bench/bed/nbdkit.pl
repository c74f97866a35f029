# A RAM disk for nbdkit's perl plugin, as in its manual.
use strict;

our $API_VERSION = 2;

my $disk = "\0" x (64 << 20);

sub open { return {}; }

sub can_write { return 1; }

sub get_size { return length $disk; }

sub pread {
    my ($handle, $count, $offset, $flags) = @_;
    return substr $disk, $offset, $count;
}

sub pwrite {
    my ($handle, $buffer, $offset, $flags) = @_;
    substr($disk, $offset, length $buffer) = $buffer;
}
