#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "common/guarded.h"
#include "common/log.h"
#include "coordinator/provider/provider.h"

namespace vmferry {

// One Provider per endpoint, user and secret, shared by all imports that use it, so that a hundred
// imports hold one session. Thread-safe.
class ProviderPool {
 public:
  using Maker =
      std::function<Result<std::unique_ptr<Provider>>(const ProviderCredentials&, const Logger&)>;
  ProviderPool(Maker maker, const Logger& log) : maker_(std::move(maker)), log_(log) {}
  ~ProviderPool();

  // The shared provider of these credentials; made on first use.
  Result<std::shared_ptr<Provider>> get(const ProviderCredentials& credentials);
  // Drops a provider whose credentials were refused, so that corrected ones start afresh.
  void drop(const ProviderCredentials& credentials);

 private:
  struct Entry {
    ProviderCredentials credentials;
    std::shared_ptr<Provider> provider;
  };
  Maker maker_;
  Logger log_;
  Guarded<std::vector<Entry>> entries_;
};

}  // namespace vmferry
