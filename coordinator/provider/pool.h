#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "common/clock.h"
#include "common/guarded.h"
#include "common/log.h"
#include "coordinator/provider/provider.h"

namespace vmferry {

// One Provider per endpoint, user and secret, shared by all imports that use it, so that a hundred
// imports hold one session. One that no import uses any more is logged out after a while: a session
// that is kept alive counts against the server's limit for ever. Thread-safe.
class ProviderPool {
 public:
  using Maker =
      std::function<Result<std::unique_ptr<Provider>>(const ProviderCredentials&, const Logger&)>;
  struct Options {
    // Not asked for in that time and held by nobody: no import uses it. A waiting one asks every
    // few minutes at most.
    std::chrono::milliseconds idle_limit = std::chrono::minutes(10);
    // The same where the secret says something else of that server and user by now.
    std::chrono::milliseconds replaced_limit = std::chrono::minutes(1);
    std::chrono::milliseconds look_every = std::chrono::seconds(10);
  };
  ProviderPool(Maker maker, const Logger& log) : ProviderPool(std::move(maker), log, Options()) {}
  ProviderPool(Maker maker, const Logger& log, Options options);
  ~ProviderPool();

  // The shared provider of these credentials; made on first use.
  Result<std::shared_ptr<Provider>> get(const ProviderCredentials& credentials);
  std::size_t size() const { return entries_.lock()->size(); }

 private:
  struct Entry {
    ProviderCredentials credentials;
    std::shared_ptr<Provider> provider;
    SteadyTime asked{};     // last
    bool replaced = false;  // another secret of the same server and user was asked for since
  };
  void evict_idle();

  const Maker maker_;
  const Logger log_;
  const Options options_;
  const SystemClock clock_;
  Guarded<std::vector<Entry>> entries_;
  std::jthread keeper_;  // last: stops before the rest goes
};

}  // namespace vmferry
