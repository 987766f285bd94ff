#include "agent/renewal.h"

#include <utility>

namespace vmferry {

Result<DiskEndpoint> Renewal::ask(const Error& why, std::chrono::milliseconds patience,
                                  std::stop_token stop) {
  std::unique_lock lock(mutex_);
  question_ = Question{++last_sequence_, protocol::WireError::from(why)};
  answer_.reset();
  lock.unlock();
  wake_();
  lock.lock();
  answered_.wait_for(lock, stop, patience, [this] { return answer_.has_value(); });
  question_.reset();
  std::optional<protocol::Renewed> answer = std::exchange(answer_, std::nullopt);
  if (answer && answer->source) return *std::move(answer->source);
  if (answer && answer->error) return answer->error->to_error();
  if (stop.stop_requested()) return Error(ErrorKind::Canceled, "stopped while renewing the ticket");
  return make_error(ErrorKind::DeadlineExceeded,
                    "the coordinator did not renew the source's credentials within {} s",
                    patience.count() / 1000);
}

std::optional<Renewal::Question> Renewal::pending() const {
  const std::lock_guard lock(mutex_);
  return answer_ ? std::nullopt : question_;
}

void Renewal::answer(const protocol::Renewed& renewed) {
  {
    const std::lock_guard lock(mutex_);
    if (!question_ || question_->sequence != renewed.sequence || answer_) return;
    answer_ = renewed;
  }
  answered_.notify_all();
}

}  // namespace vmferry
