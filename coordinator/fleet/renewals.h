#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <tuple>
#include <vector>

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

// Asks the RenewHandler, which may block for minutes, on threads of its own; answers go to a
// mailbox. A question that is being answered is not asked again. Of one source one question is
// answered at a time, so that a source that says nothing holds up its own disks and no others.
class Renewals {
 public:
  static constexpr std::size_t kThreads = 32;  // at most, made as they are needed

  // An empty handler answers that nothing can be renewed.
  Renewals(RenewHandler handler, Logger log, Mailbox<RenewalAnswer>& answers);
  ~Renewals();
  void ask(const std::string& source, std::string peer, protocol::RenewRequest request);

 private:
  using Key = std::tuple<JobId, protocol::Attempt, std::uint64_t>;
  struct Question {
    std::string peer;
    protocol::RenewRequest request;
  };
  void run(const std::stop_token& stop);
  void answer(Question question, const std::stop_token& stop);
  Result<RenewedSource> renew(const JobId& job, const std::stop_token& stop) const;

  const RenewHandler handler_;
  const Logger log_;
  Mailbox<RenewalAnswer>& answers_;
  std::mutex mutex_;
  std::condition_variable_any asked_;
  std::map<std::string, std::deque<Question>> questions_;  // by source; also empty: being asked
  std::deque<std::string> due_;                            // sources with a question and no thread
  std::set<Key> known_;
  std::size_t idle_ = 0;  // threads
  std::vector<std::jthread> threads_;
};

}  // namespace vmferry
