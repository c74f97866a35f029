#!/bin/sh
# Installs the udev rules for ublk devices. As root, from a checkout; once more, and all is replaced.
#
# - 61-ublk-links.rules: ublk disks under /dev/disk/by-uuid and its like. See docs/systemd.md.
# - 59-ublk.rules: devices of users who are not root, and the program that it runs. It lets every user
#   make such devices. See docs/unprivileged.md.
#
# usage: udev/install.sh [DENO]    both
#        udev/install.sh --links   the first alone, for which no Deno is needed
set -eu
umask 022

folder=/usr/local/lib/ublk
rules=/etc/udev/rules.d

fail() {
  echo "udev/install.sh: error: $*" >&2
  exit 1
}

[ "$(id -u)" = 0 ] || fail "this is root's to do: sudo udev/install.sh"
root=$(cd "$(dirname "$0")/.." && pwd)

# The rules of these names are in force from now on, for what is there already too.
put() {
  for rule; do install -m 644 -D "$root/udev/$rule" "$rules/$rule"; done
  if udevadm control --reload 2>/dev/null; then
    udevadm trigger --action=add --subsystem-match=misc --sysname-match=ublk-control --settle
    udevadm trigger --action=change --subsystem-match=block --sysname-match='ublkb*' --settle
  else
    echo "udev/install.sh: udev does not run; the rules are in force once it does" >&2
  fi
}

if [ "${1-}" = --links ]; then
  put 61-ublk-links.rules
  exit
fi

deno=$(command -v "${1:-deno}") || fail "no deno on the PATH: give its path"
deno=$(readlink -f "$deno")
# udev runs it as root: whoever could change it would be root, and so would whoever could put
# another in its place, or in that of a folder above it. (From a sticky folder nobody takes what is
# another's.)
place=$deno
while :; do
  others=022
  [ "$place" != "$deno" ] && [ -k "$place" ] && others=0
  [ "$(stat -c %u "$place")" = 0 ] && [ $((0$(stat -c %a "$place") & 0$others)) = 0 ] ||
    fail "$place can be changed by others than root: give the path of a deno where nothing can"
  [ "$place" != / ] || break
  place=$(dirname "$place")
done

# A copy that is root's too, and does not change with the checkout.
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
# (MemoryDenyWriteExecute=). All else is what keeps it from looking at anything but itself.
cat >"$folder/ublk-own" <<END
#!/bin/sh
# Made by udev/install.sh; run by $rules/59-ublk.rules.
export DENO_DIR=$folder/cache DENO_NO_UPDATE_CHECK=1
exec "$deno" run --quiet --no-prompt --no-config --no-lock --no-remote --v8-flags=--jitless \\
  --allow-ffi $folder/udev/ublk-own.ts "\$@"
END
chmod 755 "$folder/ublk-own"
# The first run fills the cache; a word that is no node touches nothing.
status=0
"$folder/ublk-own" --try >/dev/null 2>&1 || status=$?
[ "$status" = 2 ] || fail "$folder/ublk-own does not run: is $deno Deno?"

# Its name before it had to stand ahead of systemd's own rules for disks.
rm -f "$rules/90-ublk.rules"
put 59-ublk.rules 61-ublk-links.rules
