#include "coordinator/provider/pool.h"

#include <algorithm>
#include <iterator>
#include <utility>

namespace vmferry {
namespace {

bool same_account(const ProviderCredentials& a, const ProviderCredentials& b) {
  return a.kind == b.kind && a.api_url == b.api_url && a.username == b.username;
}

}  // namespace

ProviderPool::ProviderPool(Maker maker, const Logger& log, Options options)
    : maker_(std::move(maker)), log_(log), options_(options), keeper_([this](std::stop_token stop) {
        while (clock_.sleep(options_.look_every, stop)) evict_idle();
      }) {}

ProviderPool::~ProviderPool() {
  keeper_.request_stop();
  keeper_.join();
  for (Entry& entry : *entries_.lock()) entry.provider->close();
}

Result<std::shared_ptr<Provider>> ProviderPool::get(const ProviderCredentials& credentials) {
  auto entries = entries_.lock();
  auto found = std::ranges::find(*entries, credentials, &Entry::credentials);
  if (found == entries->end()) {
    std::shared_ptr<Provider> provider = TRY(maker_(credentials, log_));
    found = entries->insert(found, {credentials, std::move(provider)});
    for (Entry& other : *entries) {
      if (&other != &*found && same_account(other.credentials, credentials)) other.replaced = true;
    }
  }
  found->asked = clock_.steady();
  found->replaced = false;  // it is what the secret says now, also when it said so before
  return found->provider;
}

void ProviderPool::evict_idle() {
  std::vector<Entry> idle;
  {
    auto entries = entries_.lock();
    const SteadyTime now = clock_.steady();
    // Whoever holds one got it under this lock.
    const auto evicted = std::ranges::partition(*entries, [&](const Entry& entry) {
      const auto limit = entry.replaced ? options_.replaced_limit : options_.idle_limit;
      return entry.provider.use_count() > 1 || now - entry.asked <= limit;
    });
    std::ranges::move(evicted, std::back_inserter(idle));
    entries->erase(evicted.begin(), evicted.end());
  }
  for (Entry& entry : idle) {
    log_.info("source is not used any more: logging out",
              {{"url", redacted_url(entry.credentials.api_url)}});
    entry.provider->log_out();
  }
}

}  // namespace vmferry
