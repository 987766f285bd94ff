#pragma once

#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <utility>
#include <vector>

#include "common/http_client.h"
#include "common/result.h"

namespace vmferry {

// At most `limit` connections to one server, made when needed, lent to one thread at a time.
class HttpPool {
 public:
  // A connection on loan; goes back when destroyed.
  class Lease {
   public:
    Lease(HttpPool* pool, std::unique_ptr<HttpClient> client, std::uint64_t trust_number)
        : pool_(pool), client_(std::move(client)), trust_number_(trust_number) {}
    Lease(Lease&& other) noexcept
        : pool_(std::exchange(other.pool_, nullptr)),
          client_(std::move(other.client_)),
          trust_number_(other.trust_number_) {}
    Lease& operator=(Lease&&) = delete;
    ~Lease() {
      if (pool_ != nullptr) pool_->give_back(std::move(client_), trust_number_);
    }
    HttpClient& operator*() const { return *client_; }
    HttpClient* operator->() const { return client_.get(); }
    // The connection misbehaved: the next user gets a fresh one.
    void discard() { client_.reset(); }

   private:
    HttpPool* pool_;
    std::unique_ptr<HttpClient> client_;
    std::uint64_t trust_number_;  // that the connection was made with
  };

  HttpPool(HttpClient::Options options, int limit);

  Result<Lease> acquire(std::stop_token stop);
  // Nothing when all connections are busy.
  std::optional<Lease> try_acquire();
  // A changed limit or trust holds for connections lent from now on.
  void set_limit(int limit);
  void set_trust(const TlsTrust& trust);

 private:
  Result<Lease> lend();  // under mutex_
  void give_back(std::unique_ptr<HttpClient> client, std::uint64_t trust_number);

  mutable std::mutex mutex_;
  std::condition_variable_any returned_;
  HttpClient::Options options_;
  int limit_;
  int lent_ = 0;
  std::uint64_t trust_number_ = 0;  // how often the trust has changed
  std::vector<std::unique_ptr<HttpClient>> idle_;
};

}  // namespace vmferry
