#include "agent/job_failure.h"

#include <utility>

#include "common/catalogue.h"

namespace vmferry {

Error failure_to_tell(StopReason reason, Error error) {
  if (error.kind() != ErrorKind::Canceled && !is_retryable(error.kind())) return error;
  switch (reason) {
    case StopReason::LeaseLost:
      return Error(ErrorKind::Unavailable, code::kAgentLost,
                   "the agent lost the coordinator and stopped writing");
    case StopReason::AgentStops:
      return Error(ErrorKind::Unavailable, code::kAgentLost, "agent stops");
    case StopReason::None:
    case StopReason::Cancelled:
    case StopReason::Superseded:
      return error;
  }
  return error;
}

}  // namespace vmferry
