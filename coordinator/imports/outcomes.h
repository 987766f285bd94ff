#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <string_view>

#include "common/guarded.h"

namespace vmferry::imports {

enum class ImportOutcome { Successful, Failed, Cancelled };
std::string_view to_string(ImportOutcome outcome);

// How imports ended since this process began, and how long they took (lifecycle.md 10). An import
// is counted when its last finalizer of ours goes, so once. Thread-safe.
class Outcomes {
 public:
  // Upper ends of the duration's buckets.
  static constexpr std::array<std::chrono::seconds, 3> kBuckets{
      std::chrono::seconds(60), std::chrono::seconds(900), std::chrono::seconds(3600)};
  struct Count {
    std::uint64_t imports = 0;
    double seconds = 0;
    std::array<std::uint64_t, kBuckets.size()> within{};  // not longer than that bucket's end
  };
  using Counts = std::array<Count, 3>;  // by outcome

  void record(ImportOutcome outcome, std::chrono::nanoseconds duration);
  Counts counts() const { return *counts_.lock(); }

 private:
  Guarded<Counts> counts_;
};

}  // namespace vmferry::imports
