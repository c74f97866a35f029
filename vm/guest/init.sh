#!/bin/sh
# First program of the guest, run by busybox from the initramfs. It leads to a root that looks like
# the host's: the host's own "/", read-only over 9p, under an overlay whose writes stay in memory.
export PATH=/bin

fail() {
  echo "ublk-vm: $*"
  poweroff -f
}

mount -t devtmpfs dev /dev
exec </dev/console >/dev/console 2>&1
mount -t proc proc /proc
mount -t sysfs sys /sys
. /config

for module in /modules/*; do
  insmod "$module" || fail "cannot load $module"
done

# The question of the KVM probe is only whether a guest gets this far.
if [ "$PROBE" = 1 ]; then
  echo "ublk-vm: probe ok"
  poweroff -f
fi

# cache=loose: the host's files are taken as unchanging while the guest runs, without which every
# open and every page of Deno's binary is a round trip. access=any: one attach serves all users.
# noxattr: the overlay would otherwise ask for an attribute on every folder it meets.
mount -t 9p -o "ro,trans=virtio,version=9p2000.L,msize=512000,$HOST_CACHE,access=any,noxattr" \
  host /host || fail "cannot mount the host's root"
mount -t tmpfs -o size=75%,mode=755 rw /rw
mkdir /rw/upper /rw/work
mount -t overlay -o lowerdir=/host,upperdir=/rw/upper,workdir=/rw/work,index=off,xino=off \
  root /new || fail "cannot make the overlay"

# No cache on results: they must be on the host when the guest dies.
mkdir -p /new/results
mount -t 9p -o trans=virtio,version=9p2000.L,msize=512000,cache=none,access=any \
  results /new/results || fail "cannot mount the results folder"

mount -t tmpfs -o mode=755 run /new/run
mkdir -p /new/run/ublk-vm /new/run/lock
cp /stage2 /command /config /new/run/ublk-vm/
hostname ublk-vm
ifconfig lo 127.0.0.1 up

for dir in dev proc sys; do
  mount -o move /$dir /new/$dir || fail "cannot move /$dir"
done
exec switch_root /new /run/ublk-vm/stage2
