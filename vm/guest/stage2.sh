#!/bin/sh
# Second program of the guest (process 1 in the host's own root): mounts what a running system has,
# loads the driver, runs the command, leaves its exit status in /results/.status, powers off.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
. /run/ublk-vm/config

say() {
  echo "ublk-vm: $*" >/dev/console
}

# Through sysrq, since an orderly shutdown would flush block devices, and wait for ever for a ublk
# device whose server is gone.
power_off() {
  exec 2>/dev/null
  echo o >/proc/sysrq-trigger
  while :; do sleep 1; done
}

mkdir -p /dev/pts /dev/shm /dev/mqueue
mount -t devpts -o gid=5,mode=620,ptmxmode=666 devpts /dev/pts
mount -t tmpfs -o mode=1777 shm /dev/shm
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t debugfs debugfs /sys/kernel/debug
mount -t tracefs tracefs /sys/kernel/tracing
mount -t configfs configfs /sys/kernel/config 2>/dev/null # Absent until a module brings it.
ln -sf /proc/self/fd /dev/fd
ln -sf fd/0 /dev/stdin
ln -sf fd/1 /dev/stdout
ln -sf fd/2 /dev/stderr

# The modules come with the kernel, out of the cache, not from the host's system.
mkdir -p "/lib/modules/$(uname -r)"
mount --bind "$MODULES_DIR" "/lib/modules/$(uname -r)" || say "no modules folder $MODULES_DIR"
# `deno` in the guest is the very program that started the guest.
mkdir -p /usr/local/bin
ln -sf "$DENO" /usr/local/bin/deno
# The project and Deno's cache, out of memory: see copies.ts.
# (None, if they are too large for that.)
echo "$COPIED" | while read -r dir; do
  [ -n "$dir" ] || continue
  mkdir -p "$dir"
  mount -t tmpfs -o mode=755 copies "$dir"
done
tar --extract --file="$COPIES" --directory=/ || say "cannot unpack $COPIES"
if [ "$MODULES" = 1 ]; then
  modprobe -a ublk_drv loop || say "cannot load ublk_drv"
fi

if [ "$INTERACTIVE" = 1 ]; then
  stty -F /dev/ttyS0 sane rows "$ROWS" cols "$COLUMNS"
  setsid --ctty --wait /run/ublk-vm/command </dev/ttyS0 >/dev/ttyS0 2>&1
  echo "$?" >/results/.status
  power_off
fi

# The host asks for sysrq functions over the serial line, to see why a guest hangs.
stty -F /dev/ttyS0 -echo
while read -r key; do
  [ -n "$key" ] && echo "$key" >/proc/sysrq-trigger
done </dev/ttyS0 &

# The command's output goes through virtio ports: the serial line is slow, and the kernel's.
# A port opens only once, so the command gets pipes, which its children can open again.
for port in /sys/class/virtio-ports/*; do
  name=$(cat "$port/name")
  mkfifo "/run/ublk-vm/$name"
  cat <"/run/ublk-vm/$name" >"/dev/${port##*/}" &
  drains="$drains $!"
done

say ready
setsid --wait /run/ublk-vm/command </dev/null >/run/ublk-vm/stdout 2>/run/ublk-vm/stderr
status=$?

# A daemon that the command left behind may hold the pipes: wait a little, not for ever.
for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
  busy=
  for drain in $drains; do
    kill -0 "$drain" 2>/dev/null && busy=1
  done
  [ -z "$busy" ] && break
  sleep 0.1
done
echo "$status" >/results/.status
power_off
