#include "coordinator/kube/rest/request_limit.h"

namespace vmferry::kube {

Result<void> RequestLimit::take(SteadyTime until, std::stop_token stop) {
  if (per_second_ <= 0) return {};
  std::chrono::nanoseconds wait{0};
  {
    auto state = state_.lock();
    const SteadyTime now = clock_.steady();
    const double passed = std::chrono::duration<double>(now - state->refilled).count();
    const double tokens = std::min(burst_, state->tokens + passed * per_second_) - 1.0;
    if (tokens < 0) {
      wait = std::chrono::nanoseconds(static_cast<std::int64_t>(-tokens / per_second_ * 1e9));
    }
    if (now + wait > until) {
      return make_error(ErrorKind::DeadlineExceeded,
                        "too many requests to the API server wait for their turn (limit {}/s)",
                        per_second_);
    }
    state->tokens = tokens;
    state->refilled = now;
  }
  if (wait.count() > 0 && !clock_.sleep(wait, stop)) {
    return make_error(ErrorKind::Canceled, "request cancelled");
  }
  return {};
}

}  // namespace vmferry::kube
