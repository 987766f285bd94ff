#!/usr/bin/env bash
# tests/fuzz/run.sh SECONDS [NAME...]: builds the fuzz targets with clang, libFuzzer and AddressSanitizer, and runs each
# for that long. What it finds stays in build/fuzz/found; new inputs in build/fuzz/corpus.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/../.."
seconds=${1:-30}
shift || true

build=build/fuzz
mkdir -p $build/found
# Instrumented from our libraries on; the sanitizer needs no help of the packages that we link.
CC=clang CXX=clang++ cmake -S . -B $build -G Ninja -DVMFERRY_FUZZERS=ON -DVMFERRY_TESTS=ON -DVMFERRY_BENCHMARKS=OFF \
  -DCMAKE_BUILD_TYPE="" -DCMAKE_CXX_FLAGS="-O1 -g1 -fsanitize=fuzzer-no-link" -DVMFERRY_SANITIZE=address >/dev/null

names=("$@")
if ((${#names[@]} == 0)); then
  for source in tests/fuzz/*_fuzz.cc; do names+=("$(basename "$source" .cc)"); done
fi
cmake --build $build -j "$(nproc)" --target "${names[@]}"

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
    manifest) seeds+=(examples) ;;
  esac
  echo "== $name, $seconds s"
  "$build/tests/fuzz/$name" -max_total_time="$seconds" -max_len=65536 -rss_limit_mb=2048 -timeout=10 -print_final_stats=0 \
    -verbosity=0 -artifact_prefix="$build/found/$name-" "$corpus" "${seeds[@]}" || { echo "$name: FOUND SOMETHING"; failed=1; }
done
exit $failed
