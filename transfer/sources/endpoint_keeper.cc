#include "transfer/sources/endpoint_keeper.h"

#include <utility>

#include "common/catalogue.h"

namespace vmferry {

EndpointKeeper::EndpointKeeper(DiskEndpoint endpoint, RenewEndpoint renew)
    : renew_(std::move(renew)),
      current_{std::make_shared<const DiskEndpoint>(std::move(endpoint)), 1} {}

EndpointKeeper::Current EndpointKeeper::current() const {
  const std::lock_guard lock(mutex_);
  return current_;
}

void EndpointKeeper::use_fallback() {
  const std::lock_guard lock(mutex_);
  fallback_ = true;
  DiskEndpoint changed = *current_.endpoint;
  changed.url = changed.fallback_url;
  current_ = {std::make_shared<const DiskEndpoint>(std::move(changed)), current_.generation + 1};
}

void EndpointKeeper::use_first() {
  const std::lock_guard lock(mutex_);
  fallback_ = false;
}

Result<EndpointKeeper::Current> EndpointKeeper::renew(unsigned refused, const Error& why,
                                                      std::string_view code, std::stop_token stop) {
  std::unique_lock lock(mutex_);
  while (true) {
    if (stop.stop_requested()) return make_error(ErrorKind::Canceled, "reading was canceled");
    if (failed_) return *failed_;
    if (current_.generation != refused) return current_;
    if (!renewing_) break;
    changed_.wait(lock, stop, [&] { return !renewing_; });
  }
  if (!renew_) return failed_.emplace(ErrorKind::PermissionDenied, code, why.message());

  renewing_ = true;
  lock.unlock();
  Result<DiskEndpoint> renewed = renew_(why, stop);
  lock.lock();
  renewing_ = false;
  changed_.notify_all();
  if (!renewed) {
    const Error& failure = renewed.error();
    if (failure.kind() == ErrorKind::Canceled) return std::move(renewed).error();
    const std::string text = why.message() + "; renewing failed: " + failure.message();
    if (is_retryable(failure.kind())) {  // of this attempt only
      return failed_.emplace(ErrorKind::Unavailable, failure.code(), text);
    }
    const bool changed = failure.code() == code::kSourceChanged;
    return failed_.emplace(changed ? ErrorKind::DataLoss : ErrorKind::PermissionDenied,
                           changed ? code::kSourceChanged : code, text);
  }
  if (renewed->identity != current_.endpoint->identity) {
    return failed_.emplace(ErrorKind::DataLoss, code::kSourceChanged,
                           "the source changed while its permission was renewed");
  }
  if (fallback_ && !renewed->fallback_url.empty()) renewed->url = renewed->fallback_url;
  current_ = {std::make_shared<const DiskEndpoint>(*std::move(renewed)), refused + 1};
  return current_;
}

}  // namespace vmferry
