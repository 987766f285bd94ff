#include "transfer/write_fence.h"

#include "common/catalogue.h"

namespace vmferry {

bool WriteFence::is_open() const { return clock_.boot().time_since_epoch().count() < end_; }

void WriteFence::extend_until(SteadyTime end) {
  if (is_open()) end_ = end.time_since_epoch().count();
}

Result<void> WriteFence::check() const {
  if (is_open()) return {};
  return coded_error(ErrorKind::Unavailable, code::kAgentLost,
                     "the lease on this target is over: nothing more is written to it");
}

}  // namespace vmferry
