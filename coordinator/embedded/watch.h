#pragma once

#include <deque>
#include <memory>
#include <string>

#include "coordinator/embedded/database.h"
#include "coordinator/kube/reader.h"
#include "coordinator/kube/selector.h"

namespace vmferry::embedded {

// A watch that reads the event log. Writes of this process wake it; those of others are found by
// looking every 50 ms, which is one step in an index.
class StoreWatch final : public kube::Watch {
 public:
  struct Filter {
    std::string api;
    std::string ns;  // empty: all
    kube::LabelSelector selector;
  };
  // Events after `version`. `initial` objects come first, as Added.
  StoreWatch(std::shared_ptr<Database> database, Filter filter, std::int64_t version,
             std::vector<kube::Object> initial);

  Result<std::optional<kube::WatchEvent>> next(std::chrono::milliseconds timeout,
                                               std::stop_token stop) override;

 private:
  Result<void> read_more();

  std::shared_ptr<Database> database_;
  Filter filter_;
  std::int64_t version_;  // read up to here
  std::deque<kube::WatchEvent> ready_;
};

}  // namespace vmferry::embedded
