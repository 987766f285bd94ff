#pragma once

#include <atomic>
#include <stop_token>
#include <vector>

#include "transfer/copy.h"

namespace vmferry::testing {

// A journal that only remembers, as FileJournal does on disk.
class RememberingJournal final : public Journal {
 public:
  std::vector<DurableChunk> chunks;
  bool continues = false;
  bool complete = false;
  int records = 0;
  std::atomic<int> catch_ups{0};

  std::vector<DurableChunk> durable() const override { return chunks; }
  bool resumed() const override { return continues; }
  Result<void> record(const std::vector<DurableChunk>& added) override {
    ++records;
    chunks.insert(chunks.end(), added.begin(), added.end());
    return {};
  }
  Result<void> mark_complete() override {
    complete = true;
    return {};
  }
  void catch_up() override { ++catch_ups; }
};

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
