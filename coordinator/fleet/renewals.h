#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <tuple>

#include "common/log.h"
#include "common/mailbox.h"
#include "common/protocol.h"
#include "coordinator/fleet/fleet.h"

namespace vmferry {

struct RenewalAnswer {
  std::string peer;
  protocol::Renewed renewed;
  std::string source_host = {};  // as in RenewedSource
};

// Asks the RenewHandler, which may block for seconds, on a thread of its own; answers go to a
// mailbox. A question that is being answered is not asked again.
class Renewals {
 public:
  // An empty handler answers that nothing can be renewed.
  Renewals(RenewHandler handler, Logger log, Mailbox<RenewalAnswer>& answers);
  ~Renewals() = default;
  void ask(std::string peer, protocol::RenewRequest request);

 private:
  using Key = std::tuple<JobId, protocol::Attempt, std::uint64_t>;
  struct Question {
    std::string peer;
    protocol::RenewRequest request;
  };
  void run(std::stop_token stop);
  Result<RenewedSource> renew(const JobId& job, std::stop_token stop) const;

  const RenewHandler handler_;
  const Logger log_;
  Mailbox<RenewalAnswer>& answers_;
  std::mutex mutex_;
  std::condition_variable_any asked_;
  std::deque<Question> questions_;
  std::set<Key> known_;
  std::jthread thread_;
};

}  // namespace vmferry
