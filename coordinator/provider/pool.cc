#include "coordinator/provider/pool.h"

#include <algorithm>

namespace vmferry {

ProviderPool::~ProviderPool() {
  for (Entry& entry : *entries_.lock()) entry.provider->close();
}

Result<std::shared_ptr<Provider>> ProviderPool::get(const ProviderCredentials& credentials) {
  auto entries = entries_.lock();
  for (const Entry& entry : *entries) {
    if (entry.credentials == credentials) return entry.provider;
  }
  std::shared_ptr<Provider> provider = TRY(maker_(credentials, log_));
  entries->push_back({credentials, provider});
  return provider;
}

void ProviderPool::drop(const ProviderCredentials& credentials) {
  std::erase_if(*entries_.lock(),
                [&](const Entry& entry) { return entry.credentials == credentials; });
}

}  // namespace vmferry
