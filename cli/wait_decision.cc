#include "cli/wait_decision.h"

namespace vmferry::cli {

Result<WaitFor> parse_wait_for(std::string_view text) {
  if (text == "succeeded") return WaitFor::Succeeded;
  if (text == "failed") return WaitFor::Failed;
  if (text == "deleted") return WaitFor::Deleted;
  return make_error(ErrorKind::InvalidArgument,
                    "--for={}: wait knows succeeded, failed and deleted", text);
}

WaitDecision wait_decision(WaitFor wanted, const ImportView& import) {
  if (wanted == WaitFor::Deleted) {
    return import.outcome == ImportOutcome::Gone ? WaitDecision::Reached : WaitDecision::GoOn;
  }
  if (!import.ended()) return WaitDecision::GoOn;
  const ImportOutcome reached =
      wanted == WaitFor::Succeeded ? ImportOutcome::Succeeded : ImportOutcome::Failed;
  return import.outcome == reached ? WaitDecision::Reached : WaitDecision::Missed;
}

}  // namespace vmferry::cli
