#include "transfer/sources/http_pool.h"

#include <algorithm>
#include <utility>

namespace vmferry {

HttpPool::HttpPool(HttpClient::Options options, int limit)
    : options_(std::move(options)), limit_(std::max(1, limit)) {}

Result<HttpPool::Lease> HttpPool::acquire(std::stop_token stop) {
  std::unique_lock lock(mutex_);
  if (!returned_.wait(lock, std::move(stop), [&] { return lent_ < limit_; })) {
    return make_error(ErrorKind::Canceled, "reading was canceled");
  }
  return lend();
}

std::optional<HttpPool::Lease> HttpPool::try_acquire() {
  const std::lock_guard lock(mutex_);
  if (lent_ >= limit_) return std::nullopt;
  Result<Lease> lease = lend();
  if (!lease) return std::nullopt;
  return *std::move(lease);
}

Result<HttpPool::Lease> HttpPool::lend() {
  std::unique_ptr<HttpClient> client;
  if (idle_.empty()) {
    client = TRY(HttpClient::make(options_));
  } else {
    client = std::move(idle_.back());  // the warmest
    idle_.pop_back();
  }
  ++lent_;
  return Lease(this, std::move(client), trust_number_);
}

void HttpPool::give_back(std::unique_ptr<HttpClient> client, std::uint64_t trust_number) {
  {
    const std::lock_guard lock(mutex_);
    --lent_;
    const bool trusts_the_same = trust_number == trust_number_;
    if (client && trusts_the_same && static_cast<int>(idle_.size()) < limit_) {
      idle_.push_back(std::move(client));
    }
  }
  returned_.notify_one();
}

void HttpPool::set_limit(int limit) {
  {
    const std::lock_guard lock(mutex_);
    limit_ = std::max(1, limit);
    while (static_cast<int>(idle_.size()) > limit_) idle_.pop_back();
  }
  returned_.notify_all();
}

void HttpPool::set_trust(const TlsTrust& trust) {
  const std::lock_guard lock(mutex_);
  if (trust == options_.trust) return;
  options_.trust = trust;
  ++trust_number_;
  idle_.clear();
}

}  // namespace vmferry
