#!/usr/bin/env bash
# tests/fuzz/run.sh [SECONDS [NAME...]]: builds the fuzz targets with clang, libFuzzer and
# AddressSanitizer and runs each for that long. What it finds stays in build/fuzz/found: put it into
# tests/data/fuzz/<subject>/ with the fix. New inputs are kept in build/fuzz/corpus for the next run.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/../.."
seconds=${1:-30}
shift || true
build=build/fuzz
mkdir -p $build/found

probe='extern "C" int LLVMFuzzerTestOneInput(const unsigned char*, unsigned long) { return 0; }'
if ! echo "$probe" | clang++ -x c++ - -fsanitize=fuzzer,address -o $build/probe 2>$build/probe.log; then
  echo "fuzzing is skipped: clang++ cannot link with -fsanitize=fuzzer,address here" \
    "(packages clang and libclang-rt-14-dev): $(tail -1 $build/probe.log)" >&2
  exit 0
fi

# Ours is instrumented, the packages that we link are not: asan's container checks, which need both
# sides, stay off.
cmake -S . -B $build -G Ninja -DCMAKE_C_COMPILER=clang -DCMAKE_CXX_COMPILER=clang++ \
  -DVMFERRY_FUZZERS=ON -DVMFERRY_BENCHMARKS=OFF -DCMAKE_BUILD_TYPE="" \
  -DCMAKE_CXX_FLAGS="-O1 -g1 -fsanitize=fuzzer-no-link" -DVMFERRY_SANITIZE=address >/dev/null
export ASAN_OPTIONS=detect_container_overflow=0

names=("$@")
if ((${#names[@]} == 0)); then
  for source in tests/fuzz/*_fuzz.cc; do names+=("$(basename "$source" .cc)"); done
fi
cmake --build $build -j "${VMFERRY_FUZZ_JOBS:-$(nproc)}" --target "${names[@]}"

failed=0
for name in "${names[@]}"; do
  subject=${name%_fuzz}
  corpus=$build/corpus/$subject
  mkdir -p "$corpus"
  seeds=()
  for directory in "tests/data/fuzz/$subject" "tests/data/$subject"; do
    if [[ -d $directory ]]; then seeds+=("$directory"); fi
  done
  case $subject in
    soap) seeds+=(tests/data/vmware) ;;
    manifest) seeds+=(examples/loose) ;;
  esac
  log=$build/$name.log
  if "$build/tests/fuzz/$name" -max_total_time="$seconds" -max_len=65536 -rss_limit_mb=2048 \
    -timeout=10 -verbosity=0 -artifact_prefix="$build/found/$name-" "$corpus" "${seeds[@]}" \
    >"$log" 2>&1; then
    echo "$name: nothing found in $seconds s"
  else
    tail -n 60 "$log"
    echo "$name: found something; the input is in $build/found, all that it said in $log"
    failed=1
  fi
done
exit $failed
