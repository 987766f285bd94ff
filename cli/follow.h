#pragma once

#include <chrono>
#include <map>
#include <optional>
#include <vector>

#include "cli/context.h"
#include "cli/import_view.h"
#include "coordinator/kube/reader.h"

namespace vmferry::cli {

// Tells when a blocked import has been blocked, with the same reasons, for so long that it counts
// as failed: whoever waits for a result has to act. Pure; time is passed in.
class BlockedTimer {
 public:
  explicit BlockedTimer(std::optional<std::chrono::milliseconds> limit) : limit_(limit) {}
  // Nothing ever expires without a limit.
  bool expired(const ImportView& import, SteadyTime now);

 private:
  struct Since {
    std::string why;
    SteadyTime time;
  };
  std::optional<std::chrono::milliseconds> limit_;
  std::map<kube::ObjectKey, Since> since_;
};

// kOk when all succeeded (or are gone because somebody deleted them), else kFailed.
int exit_code_of(const std::vector<ImportView>& imports);

// Shows these imports until each has ended, or is blocked for `blocked_limit`. Answers their last
// state. Canceled when stopped; the imports go on without us.
Result<std::vector<ImportView>> follow(Context& context, kube::Reader& reader,
                                       const std::vector<kube::ObjectKey>& imports,
                                       std::optional<std::chrono::milliseconds> blocked_limit);

}  // namespace vmferry::cli
