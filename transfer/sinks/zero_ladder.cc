#include "transfer/sinks/zero_ladder.h"

#include <algorithm>
#include <cerrno>
#include <utility>

namespace vmferry {
namespace {

constexpr std::uint64_t kWriteBytes = 1u << 20;

bool is_unsupported(int error_number) {
  return error_number == EOPNOTSUPP || error_number == ENOSYS || error_number == ENOTTY ||
         error_number == EINVAL;
}

}  // namespace

ZeroLadder::ZeroLadder(std::vector<Step> steps, WriteZeros write_zeros, MakeError make_error,
                       const WriteFence* fence)
    : steps_(std::move(steps)),
      write_zeros_(std::move(write_zeros)),
      make_error_(std::move(make_error)),
      fence_(fence) {}

Result<void> ZeroLadder::zero(ByteRange range, std::stop_token stop) {
  while (!range.empty()) {
    if (stop.stop_requested()) return Error(ErrorKind::Canceled, "zeroing stopped");
    TRY(check_fence(fence_));
    std::size_t at = step_;
    const std::uint64_t most = at < steps_.size() ? steps_[at].most_bytes : kWriteBytes;
    const ByteRange part{range.offset, std::min(range.length, most)};
    if (at == steps_.size()) {
      TRY(write_zeros_(part));
    } else if (const int failed = steps_[at].run(part); failed == EINTR) {
      continue;
    } else if (is_unsupported(failed)) {
      step_.compare_exchange_strong(at, at + 1);  // another thread may have found out as well
      continue;
    } else if (failed != 0) {
      return make_error_(failed, steps_[at].name, part);
    }
    range.offset += part.length;
    range.length -= part.length;
  }
  return {};
}

std::string_view ZeroLadder::step_name() const {
  const std::size_t at = step_;
  return at < steps_.size() ? steps_[at].name : "write";
}

}  // namespace vmferry
