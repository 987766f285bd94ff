#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <stop_token>
#include <string_view>
#include <vector>

#include "common/extent.h"
#include "common/result.h"
#include "transfer/write_fence.h"

namespace vmferry {

// Ways of making a range zero, best first. A way that turns out to be unsupported is remembered
// and never tried again; the last one (writing zeros) always works.
class ZeroLadder {
 public:
  struct Step {
    std::string_view name;
    std::uint64_t most_bytes = 1u << 30;  // per call, so that a stop is seen in time
    // 0, or an errno: EOPNOTSUPP, ENOSYS, ENOTTY and EINVAL mean unsupported.
    std::function<int(ByteRange)> run;
  };
  using WriteZeros = std::function<Result<void>(ByteRange)>;  // at most 1 MiB
  using MakeError = std::function<Error(int error_number, std::string_view step, ByteRange)>;

  ZeroLadder(std::vector<Step> steps, WriteZeros write_zeros, MakeError make_error,
             const WriteFence* fence = nullptr);

  // Canceled when stopped between calls, the fence's error when that is closed.
  Result<void> zero(ByteRange range, std::stop_token stop);
  // The step in use, "write" at the end of the ladder: for logs and tests.
  std::string_view step_name() const;

 private:
  std::vector<Step> steps_;
  WriteZeros write_zeros_;
  MakeError make_error_;
  const WriteFence* fence_;
  std::atomic<std::size_t> step_{0};
};

}  // namespace vmferry
