#!/bin/sh
# Runs a command while the kernel traces ublk, and writes the trace to /results/trace.txt as it
# grows, so that a hang keeps what led to it.
cd /sys/kernel/tracing || exit 1
echo 0 >tracing_on
echo nop >current_tracer
echo 16384 >buffer_size_kb

# The block layer's events carry the device as (major << 20 | minor).
major=$(awk '$2 == "ublk-block" { print $1 }' /proc/devices)
if [ -n "$major" ]; then
  for event in events/block/*/; do
    # Plug and unplug have no device, and take no such filter.
    if echo "dev >= $((major << 20)) && dev < $(((major + 1) << 20))" 2>/dev/null >"${event}filter"
    then
      echo 1 >"${event}enable"
    fi
  done
fi

# 46 is IORING_OP_URING_CMD; 128 is IORING_OP_URING_CMD128 (the newer kernels' name for a big one).
echo 'opcode == 46' >events/io_uring/io_uring_submit_req/filter
for event in submit_req complete cqe_overflow req_failed; do
  [ -d "events/io_uring/io_uring_$event" ] && echo 1 >"events/io_uring/io_uring_$event/enable"
done

if [ -e available_filter_functions ] && grep -q ' \[ublk_drv\]' available_filter_functions; then
  echo ':mod:ublk_drv' >set_ftrace_filter
  echo function >current_tracer
  # Newer kernels show the arguments too.
  [ -e options/func-args ] && echo 1 >options/func-args
else
  echo "no function tracing: is ublk_drv loaded?" >&2
fi

grep -v '^$' trace | head -20 >/results/trace.txt # The columns' names.
cat trace_pipe >>/results/trace.txt &
reader=$!
cd "$OLDPWD" || exit 1
echo 1 >/sys/kernel/tracing/tracing_on
"$@"
status=$?
echo 0 >/sys/kernel/tracing/tracing_on
sleep 1 # For the reader to come to the end of the buffers.
kill "$reader"
exit "$status"
