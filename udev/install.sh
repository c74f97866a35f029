#!/bin/sh
# Installs the udev rules for ublk devices. Run it as root, from a checkout; run it again to update them.
#
# - 61-ublk-links.rules: links to ublk disks, such as /dev/disk/by-uuid. See docs/systemd.md.
# - 59-ublk.rules, with the program that it runs: lets every user make private devices. See
#   docs/unprivileged.md.
#
# usage: udev/install.sh [DENO]    both
#        udev/install.sh --links   the first only; it needs no Deno
set -eu
umask 022

folder=/usr/local/lib/ublk
rules=/etc/udev/rules.d

fail() {
  echo "udev/install.sh: error: $*" >&2
  exit 1
}

[ "$(id -u)" = 0 ] || fail "run it as root: sudo udev/install.sh"
root=$(cd "$(dirname "$0")/.." && pwd)

# Puts rules into force, also for devices that exist already.
put() {
  for rule; do install -m 644 -D "$root/udev/$rule" "$rules/$rule"; done
  if udevadm control --reload 2>/dev/null; then
    udevadm trigger --action=add --subsystem-match=misc --sysname-match=ublk-control --settle
    udevadm trigger --action=change --subsystem-match=block --sysname-match='ublkb*' --settle
  else
    echo "udev/install.sh: udev is not running; the rules take effect when it starts" >&2
  fi
}

if [ "${1-}" = --links ]; then
  put 61-ublk-links.rules
  exit
fi

deno=$(command -v "${1:-deno}") || fail "no deno on the PATH: give its path"
deno=$(readlink -f "$deno")
# udev runs this program as root. A user who could change it would become root, and so would one who
# could replace it or a folder above it. (In a sticky folder, users cannot replace others' files.)
place=$deno
while :; do
  others=022
  [ "$place" != "$deno" ] && [ -k "$place" ] && others=0
  [ "$(stat -c %u "$place")" = 0 ] && [ $((0$(stat -c %a "$place") & 0$others)) = 0 ] ||
    fail "users other than root can change $place: give the path of a deno that only root can change"
  [ "$place" != / ] || break
  place=$(dirname "$place")
done

# Makes a copy that belongs to root and does not change with the checkout.
rm -rf "$folder"
mkdir -p "$folder/udev"
for room in ctrl uapi uring; do
  mkdir "$folder/$room"
  for file in "$root/$room"/*.ts; do
    case $file in
    *_test.ts | */fake_*.ts) ;;
    *) install -m 644 "$file" "$folder/$room/" ;;
    esac
  done
done
install -m 644 "$root/udev/ublk-own.ts" "$folder/udev/"

# --jitless: systemd allows udev no memory that is both writable and executable
# (MemoryDenyWriteExecute=). The other flags keep Deno from reading anything but the program itself.
cat >"$folder/ublk-own" <<END
#!/bin/sh
# Made by udev/install.sh; run by $rules/59-ublk.rules.
export DENO_DIR=$folder/cache DENO_NO_UPDATE_CHECK=1
exec "$deno" run --quiet --no-prompt --no-config --no-lock --no-remote --v8-flags=--jitless \\
  --allow-ffi $folder/udev/ublk-own.ts "\$@"
END
chmod 755 "$folder/ublk-own"
# The first run fills the cache. Its argument is not a node, so it touches nothing.
status=0
"$folder/ublk-own" --try >/dev/null 2>&1 || status=$?
[ "$status" = 2 ] || fail "$folder/ublk-own does not run: is $deno Deno?"

# The rule's old name, from before it had to sort ahead of systemd's own rules for disks.
rm -f "$rules/90-ublk.rules"
put 59-ublk.rules 61-ublk-links.rules
