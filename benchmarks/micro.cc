// What each part of the copier costs by itself. Chunks come from 256 MiB, as they do in a copy:
// from beyond the processor's own caches.
#include <benchmark/benchmark.h>
#include <unistd.h>

#include <cstring>
#include <fstream>
#include <optional>
#include <random>
#include <stop_token>
#include <string>
#include <vector>

#include "common/clock.h"
#include "transfer/aligned_buffer.h"
#include "transfer/digest.h"
#include "transfer/journal_file.h"
#include "transfer/plan.h"
#include "transfer/resume.h"
#include "transfer/run_queue.h"
#include "transfer/throttle.h"
#include "transfer/zero_scan.h"

namespace vmferry {
namespace {

constexpr std::uint64_t kPool = 256;  // chunks
constexpr std::uint64_t kTiB = 1ull << 40;

// `random`: incompressible, else zeros.
AlignedBuffer pool(bool random) {
  AlignedBuffer buffer(kPool * kChunkBytes);
  if (!random) return buffer;
  std::mt19937_64 numbers(5);
  const std::span<std::byte> bytes = buffer.span();
  for (std::size_t at = 0; at < bytes.size(); at += 8) {
    const std::uint64_t number = numbers();
    std::memcpy(bytes.data() + at, &number, 8);
  }
  return buffer;
}

std::span<const std::byte> chunk_of(const AlignedBuffer& buffer, std::uint64_t turn) {
  return buffer.span().subspan(turn % kPool * kChunkBytes, kChunkBytes);
}

void count_bytes(benchmark::State& state) {
  state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations()) *
                          static_cast<std::int64_t>(kChunkBytes));
}

void zero_scan(benchmark::State& state) {
  const AlignedBuffer buffer = pool(state.range(0) != 0);
  std::uint64_t turn = 0;
  for (auto _ : state) {
    const auto chunk = chunk_of(buffer, turn++);
    for (std::uint64_t piece = 0; piece < kPiecesPerChunk; ++piece) {
      benchmark::DoNotOptimize(is_zero(chunk.subspan(piece * kPieceBytes, kPieceBytes)));
    }
  }
  count_bytes(state);
}
BENCHMARK(zero_scan)->ArgName("data")->Arg(0)->Arg(1);

void hash(benchmark::State& state, HashAlgorithm algorithm) {
  const AlignedBuffer buffer = pool(true);
  Result<LeafHasher> hasher = LeafHasher::make(algorithm);
  if (!hasher) return state.SkipWithError("no such hash");
  std::byte leaf[kMaxLeafBytes];
  std::uint64_t turn = 0;
  for (auto _ : state) {
    if (!hasher->hash(chunk_of(buffer, turn++), leaf)) return state.SkipWithError("hash failed");
    benchmark::DoNotOptimize(leaf);
  }
  count_bytes(state);
}
BENCHMARK_CAPTURE(hash, xxh3_128, HashAlgorithm::Xxh3_128);
BENCHMARK_CAPTURE(hash, sha256, HashAlgorithm::Sha256);

// 100 TiB in a million extents of odd lengths, data and zeros in turns.
void plan_fragmented(benchmark::State& state) {
  constexpr std::uint64_t kSize = 100 * kTiB;
  constexpr std::uint64_t kExtents = 1'000'000;
  std::mt19937_64 numbers(7);
  std::vector<Extent> extents;
  extents.reserve(kExtents + 1);
  std::uint64_t at = 0;
  while (extents.size() < kExtents && at < kSize) {
    const std::uint64_t length =
        std::min(kSize - at, (1 + numbers() % (2 * kSize / kExtents / 4096)) * 4096);
    extents.push_back(
        {{at, length}, extents.size() % 2 == 0 ? Allocation::Data : Allocation::Zero});
    at += length;
  }
  if (at < kSize) extents.push_back({{at, kSize - at}, Allocation::Zero});
  std::uint64_t decided = 0;
  for (auto _ : state) {
    Planner planner(kSize, {.target_is_zero = true});
    std::vector<ChunkRun> runs;
    for (const Extent& extent : extents) {
      planner.feed(extent, runs);
      if (runs.size() > 1024) {  // as the copier does: a plan never stands as a whole
        decided += runs.size();
        runs.clear();
      }
    }
  }
  benchmark::DoNotOptimize(decided);
  state.SetItemsProcessed(static_cast<std::int64_t>(state.iterations()) *
                          static_cast<std::int64_t>(extents.size()));
}
BENCHMARK(plan_fragmented)->Unit(benchmark::kMillisecond);

// One checkpoint of `chunks` chunks of a 1 TiB disk, both flushes of the journal included.
void journal_record(benchmark::State& state) {
  const std::string path = "vmferry-micro-" + std::to_string(::getpid()) + ".journal";
  {
    Result<std::unique_ptr<JournalFile>> journal = JournalFile::open(path);
    const JournalIdentity identity{
        .job = "micro", .size_bytes = kTiB, .hash = "xxh3-128", .source = {}, .target = {}};
    if (!journal || !(*journal)->create(identity)) return state.SkipWithError("no journal here");
    const auto count = static_cast<std::uint64_t>(state.range(0));
    std::vector<DurableChunk> chunks(count);
    std::uint64_t next = 0;
    for (auto _ : state) {
      for (DurableChunk& chunk : chunks) {
        chunk = {next++ % (kTiB / kChunkBytes), LeafDigest(16, std::byte{3})};
      }
      if (next > kTiB / kChunkBytes) next = 0;
      if (!(*journal)->record(chunks)) return state.SkipWithError("record failed");
    }
    state.SetItemsProcessed(static_cast<std::int64_t>(state.iterations()) * state.range(0));
  }
  ::unlink(path.c_str());
}
BENCHMARK(journal_record)->ArgName("chunks")->Arg(1)->Arg(4096)->Unit(benchmark::kMicrosecond);

// The most memory that this process had since the last call, in MiB; 0 where that cannot be asked.
double peak_since_last_mib() {
  std::ifstream status("/proc/self/status");
  double peak = 0;
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("VmHWM:")) peak = std::stod(line.substr(6)) / 1024;
  }
  std::ofstream("/proc/self/clear_refs") << 5;
  return peak;
}

// A disk of so many TiB, all of it durable, is opened to go on; its leaves (16 MiB a TiB) stay.
// `remote`: the coordinator remembers it, and this node has no journal of it.
void resume_open(benchmark::State& state) {
  const std::string path = "vmferry-micro-" + std::to_string(::getpid());
  const std::uint64_t size = static_cast<std::uint64_t>(state.range(0)) * kTiB;
  const JournalIdentity identity{
      .job = "micro", .size_bytes = size, .hash = "xxh3-128", .source = {}, .target = {}};
  const SinkOptions options{.path = path + ".img", .size_bytes = size};
  std::vector<std::string> told;
  ResumeState remote;
  {
    Result<TargetOpen> target = open_target(options, identity, path + ".journal", {}, {});
    if (!target) return state.SkipWithError("no sparse file here");
    std::vector<DurableChunk> chunks;
    for (std::uint64_t index = 0; index < size / kChunkBytes; ++index) {
      chunks.push_back({index, LeafDigest(16, static_cast<std::byte>(index * 7 + 1))});
      if (chunks.size() < 16384) continue;
      if (!target->journal->record(chunks)) return state.SkipWithError("record failed");
      told.push_back(encode_chunks(chunks));
      chunks.clear();
    }
    remote = {target->epoch, target->identity, {}};
  }
  double before = 0;
  double peak = 0;
  for (auto _ : state) {
    peak_since_last_mib();
    before = peak_since_last_mib();
    std::optional<ResumeState> from;
    if (state.range(1) != 0) {
      from = remote;
      for (const std::string& part : told) {
        auto chunks = decode_chunks(part, size / kChunkBytes);
        for (DurableChunk& chunk : *chunks) from->chunks.push_back(std::move(chunk));
      }
      ::unlink((path + ".journal").c_str());
    }
    Result<TargetOpen> target =
        open_target(options, identity, path + ".journal", std::move(from), {});
    Result<std::unique_ptr<LeafTable>> leaves = LeafTable::make(HashAlgorithm::Xxh3_128, size);
    const Result<void> restored =
        target->journal->restore([&](std::uint64_t index, std::span<const std::byte> digest) {
          (*leaves)->set(index, digest);
          return Result<void>();
        });
    if (!restored || !target->journal->resumed()) return state.SkipWithError("not resumed");
    peak = std::max(peak, peak_since_last_mib() - before);
  }
  state.counters["peak_MiB"] = peak;
  ::unlink((path + ".journal").c_str());
  ::unlink((path + ".img").c_str());
}
BENCHMARK(resume_open)
    ->ArgNames({"TiB", "remote"})
    ->Args({2, 0})
    ->Args({2, 1})
    ->Iterations(2)
    ->Unit(benchmark::kMillisecond);

// A limit that never bites: what every chunk of a limited copy pays.
void throttle(benchmark::State& state) {
  static const SystemClock clock;
  static Throttle all(clock, std::uint64_t{1} << 50);
  static Throttle disk(clock, std::uint64_t{1} << 50, &all);
  for (auto _ : state) {
    if (!disk.acquire(kChunkBytes, {})) return state.SkipWithError("throttle failed");
  }
}
BENCHMARK(throttle)->Threads(1)->Threads(8)->UseRealTime();

// A worker takes a chunk from a plan that is ready, with the stop token that all workers share.
void run_queue(benchmark::State& state) {
  static RunQueue queue;
  static std::stop_source stop;
  if (state.thread_index() == 0) {
    (void)queue.push({0, std::uint64_t{1} << 62, ChunkAction::Copy, kAllPieces}, stop.get_token());
  }
  for (auto _ : state) benchmark::DoNotOptimize(queue.pop(1, 1, stop.get_token()));
}
BENCHMARK(run_queue)->Threads(1)->Threads(4)->UseRealTime();

}  // namespace
}  // namespace vmferry

BENCHMARK_MAIN();
