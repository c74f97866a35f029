#!/bin/bash
# Runs the kernel's ublk selftests, and tells the host about each in lines of "@", a word, and
# values, all with tabs between (see vm/selftest_runs.ts).
#
# usage: selftests.sh FOLDER SECONDS. FOLDER holds the scripts and kublk, SECONDS is what each
# script may take. In /results: `plan` has lines "column<TAB>script"; `kublk-COLUMN`, if it is
# there, stands in kublk's place; `bpftrace` goes before the system's.
folder=$1
limit=$2
work=/run/selftests
hugepages=128

tell() {
  local IFS=$'\t'
  echo "@${IFS}$*"
}

# Since boot: the time of day may jump.
now_ms() {
  local up
  read -r up _ </proc/uptime
  echo "${up/./}0"
}

devices() {
  local node
  for node in /dev/ublkc*; do
    [ -e "$node" ] && echo "${node#/dev/ublkc}"
  done
}

# Runs a command every tenth of a second until it succeeds, at most so many times.
try() {
  local times=$1
  shift
  while ! "$@"; do
    [ $((times -= 1)) -gt 0 ] || return 1
    sleep 0.1
  done
}

no_devices() { [ -z "$(devices)" ]; }
no_processes() { ! grep -q . "$cgroup/cgroup.procs"; }

prepare() {
  local name
  # What the scripts use without asking.
  for name in awk dd fallocate lsblk mkfs.ext4 modprobe mount realpath taskset truncate udevadm; do
    command -v "$name" >/dev/null && continue
    echo "no $name: install it on the host"
    exit 1
  done
  mkdir -p "$work"
  /lib/systemd/systemd-udevd --daemon || exit 1
  udevadm trigger
  udevadm settle
  if [ -e /results/bpftrace ]; then
    install -m 755 /results/bpftrace /usr/local/bin/bpftrace
    # generic_12 gives it two seconds: have it in memory.
    bpftrace --version >/dev/null
  fi
}

# What the scripts could skip for: told before, so that the host knows a skip's reason.
tell_facts() {
  local name column features
  for name in $(grep -ho '_have_program [a-z0-9._]*' "$folder"/test_*.sh | cut -d' ' -f2); do
    command -v "$name" >/dev/null || tell lacks "$name"
  done
  tell version fio "$(fio --version)"
  tell version bpftrace "$(bpftrace --version)"
  for column in $( (echo kublk; cut -f1 /results/plan) | sort -u); do
    copy_folder "$column" "$work/facts"
    features=$("$work/facts/kublk" features | grep -o '[A-Z][A-Z_]\{4,\}' | tr '\n' ' ')
    tell features "$column" "$features"
    rm -r "$work/facts"
  done
}

copy_folder() {
  cp -r "$folder" "$2"
  if [ -e "/results/kublk-$1" ]; then install -m 755 "/results/kublk-$1" "$2/kublk"; fi
}

# Ends what a script left: processes, mounts, devices. Fails if a device stays.
clean() {
  local target id
  echo 1 >"$cgroup/cgroup.kill"
  try 50 no_processes
  rmdir "$cgroup" 2>/dev/null
  grep -o " $work/[^ ]*\|^/dev/ublkb[^ ]*" /proc/mounts | tac | while read -r target; do
    umount -l "$target"
  done
  for id in $(devices); do
    # In the background, since a delete that hangs cannot even be killed.
    "$folder/kublk" del -n "$id" >/dev/null 2>&1 &
  done
  try 300 no_devices
}

run() {
  local column=$1 script=$2 log="/results/$1/$2.log" started ms status processes left cleaned trace
  cgroup=/sys/fs/cgroup/selftest-$((count += 1))
  mkdir -p "$cgroup" "/results/$column" "$work/$script"
  # A tmpfs, because the loop and stripe targets open their files with O_DIRECT, and 9p has none.
  # One for each script: what a killed server's ring still holds must not count in the next one.
  mount -t tmpfs -o mode=755,size=75% selftests "$work/$script" || exit 1
  copy_folder "$column" "$work/$script/ublk"
  echo "$hugepages" >/proc/sys/vm/nr_hugepages
  tell begin "$column" "$script"
  cd "$work/$script/ublk" || exit 1
  started=$(now_ms)
  # SC2016: the inner shell's own variables. It is in the cgroup before it starts anything.
  # shellcheck disable=SC2016
  timeout --kill-after=5 "$limit" \
    bash -c 'echo $$ >"$0"; exec "$@"' "$cgroup/cgroup.procs" "./test_$script.sh" \
    </dev/null >"$log" 2>&1
  status=$?
  ms=$(($(now_ms) - started))
  # A trace that bpftrace cannot load is why its test skips, and the test does not say so.
  if [ "$status" = 4 ] && trace=$(grep -o 'trace/[a-z_]*\.bt' "./test_$script.sh"); then
    echo "bpftrace -d $trace:" >>"$log"
    timeout 20 bpftrace -d "$trace" 0 W 1 2>&1 | grep ERROR >>"$log"
  fi
  # The servers of deleted devices end a moment later.
  try 50 no_processes
  processes=$(wc -l <"$cgroup/cgroup.procs")
  left=$(devices | wc -l)
  cd "$work" || exit 1
  rm -rf "${work:?}/$script/ublk"
  clean
  cleaned=$?
  tell end "$column" "$script" "$status" "$ms" "$left" "$processes"
  rmdir "$work/$script"
  return "$cleaned"
}

main() {
  local column script
  prepare
  tell_facts
  while IFS=$'\t' read -r -u 3 column script; do
    # With a device that cannot be deleted no other script tells anything: the host boots anew.
    run "$column" "$script" 3<&- || exit 75
  done 3</results/plan
}

main
exit 0
