#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <optional>
#include <stop_token>
#include <vector>

#include "transfer/copy.h"
#include "transfer/journal_file.h"

namespace vmferry::testing {

// A journal that only remembers.
class RememberingJournal final : public Journal {
 public:
  std::vector<DurableChunk> chunks;
  bool continues = false;
  bool complete = false;
  bool invalid = false;
  std::optional<Error> failure;  // of everything that writes
  int records = 0;
  std::atomic<int> catch_ups{0};

  Result<void> restore(const EachChunk& each) override {
    for (const DurableChunk& chunk : chunks) TRY(each(chunk.index, chunk.digest));
    return {};
  }
  bool resumed() const override { return continues; }
  Result<void> record(const std::vector<DurableChunk>& added) override {
    ++records;
    if (failure) return *failure;
    chunks.insert(chunks.end(), added.begin(), added.end());
    return {};
  }
  Result<void> forget(const std::vector<std::uint64_t>& indices) override {
    if (failure) return *failure;
    std::erase_if(chunks, [&](const DurableChunk& chunk) {
      return std::ranges::find(indices, chunk.index) != indices.end();
    });
    return {};
  }
  Result<void> invalidate() override {
    if (failure) return *failure;
    chunks.clear();
    invalid = true;
    return {};
  }
  Result<void> mark_complete() override {
    if (failure) return *failure;
    complete = true;
    return {};
  }
  void catch_up() override { ++catch_ups; }
};

// All that an earlier attempt made durable, as a list.
inline EachChunk append_to(std::vector<DurableChunk>& chunks) {
  return [&chunks](std::uint64_t index, std::span<const std::byte> digest) {
    chunks.push_back({index, {digest.begin(), digest.end()}});
    return Result<void>();
  };
}
inline std::vector<DurableChunk> durable_of(Journal& journal) {
  std::vector<DurableChunk> chunks;
  EXPECT_TRUE(journal.restore(append_to(chunks)).ok());
  return chunks;
}
inline std::vector<DurableChunk> durable_of(const JournalFile& file) {
  std::vector<DurableChunk> chunks;
  EXPECT_TRUE(file.for_each_durable(append_to(chunks)).ok());
  return chunks;
}

struct Copy {
  CopyOptions options;
  Journal* journal = nullptr;
  Throttle* throttle = nullptr;
  CopyMonitor monitor;
  SystemClock clock;
  Logger log;

  Result<CopyResult> run(DiskSource& source, DiskSink& sink, std::stop_token stop = {}) {
    return copy_disk(source, sink, journal, throttle, options, monitor, clock, log, stop);
  }
};

}  // namespace vmferry::testing
